import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ObjectCollection } from "../collection/object-collection.ts";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import { describeFault, validateObject } from "../manifest/index.ts";
import { answerReview } from "./review-object.ts";

const objects = new ObjectCollection();
objects.replaceAll([
  {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name: "way", namespace: "shop" },
    spec: { gatewayClassName: "istio-waypoint" },
  } as KubernetesObject,
]);

function review(object: unknown, request: object = {}): unknown {
  return {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: { uid: "u-1", operation: "CREATE", namespace: "shop", name: "x", object, ...request },
  };
}
const decide = (object: unknown, request: object = {}): string => {
  const { allowed, uid, status } = answerReview(review(object, request), objects.snapshot()).response;
  expect(uid).toBe("u-1");
  return allowed ? "allowed" : `${status?.code} ${status?.message}`;
};

const policy = (spec: object, metadata: object = { name: "p", namespace: "shop" }): object => ({
  apiVersion: "security.istio.io/v1",
  kind: "AuthorizationPolicy",
  metadata,
  spec,
});
const route = (parentRefs: object[], rules: object[] = [{ colour: "red" }]): object => ({
  apiVersion: "gateway.networking.k8s.io/v1",
  kind: "HTTPRoute",
  metadata: { name: "r", namespace: "shop" },
  spec: { parentRefs, rules },
});
const service = { group: "", kind: "Service", name: "web", port: 80 };
const badPort = policy({ rules: [{ to: [{ operation: { ports: ["70000"] } }] }] });

describe("answerReview", () => {
  test("refuses with the words of the local mesh, all of them", () => {
    const bad = policy({ action: "PERMIT", ruels: [], rules: [{ to: [{ operation: { ports: ["0"] } }] }] });
    const faults = validateObject(bad);
    expect(faults.length).toBeGreaterThan(2);
    expect(decide(bad)).toBe(`422 ${faults.map(describeFault).join("; ")}`);
    expect(decide(badPort)).toBe('422 spec.rules[0].to[0].operation.ports[0]: "70000" is not a port (1 to 65535)');
  });

  test.each<[string, unknown, object]>([
    ["a good policy", policy({ action: "DENY", rules: [{}] }), {}],
    ["a name that is still to be made", policy({}, { generateName: "p-", namespace: "shop" }), { name: "" }],
    ["what is deleted", undefined, { operation: "DELETE" }],
    ["a connection to what is stored", badPort, { operation: "CONNECT" }],
    [
      "the last change of what is being deleted",
      { ...(badPort as KubernetesObject), metadata: { name: "p", deletionTimestamp: "2026-01-01T00:00:00Z" } },
      { operation: "UPDATE" },
    ],
    ["a route of another gateway, whatever it says", route([{ name: "edge" }]), {}],
    ["a route without a parent", route([]), {}],
    [
      "a Gateway of another class",
      { ...route([]), kind: "Gateway", spec: { gatewayClassName: "other", strange: 1 } },
      {},
    ],
  ])("allows %s", (_, object, request) => {
    expect(decide(object, request)).toBe("allowed");
  });

  test.each<[string, object]>([
    ["of a Service", route([service])],
    ["of a ServiceEntry", route([{ group: "networking.istio.io", kind: "ServiceEntry", name: "x" }])],
    ["of a waypoint", route([{ name: "way" }])],
    ["of a Service beside another gateway", route([{ name: "edge" }, service])],
  ])("judges a route %s", (_, object) => {
    expect(decide(object)).toContain('422 spec.rules[0].colour: unknown field "colour"');
  });

  test("cuts a message that nobody would read, and is quick about names of a megabyte", () => {
    const begin = performance.now();
    const answer = decide(policy({ ["x".repeat(1_000_000)]: 1 }));
    expect(answer.length).toBeLessThan(9000);
    expect(performance.now() - begin).toBeLessThan(2000);
  });

  test.each([
    [null, "not an AdmissionReview"],
    [[], "not an AdmissionReview"],
    [{ kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1beta1" }, "send admission.k8s.io/v1"],
    [{ kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1" }, "no request with a uid"],
    [{ kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1", request: { uid: 7 } }, "no request with a uid"],
  ])("says of %j what is wrong with it", (value, message) => {
    expect(() => answerReview(value, objects.snapshot())).toThrow(message);
  });

  test("answers whatever object comes", () => {
    const kinds = fc.constantFrom("AuthorizationPolicy", "HTTPRoute", "Gateway", "ServiceEntry", "Pod", "Nothing");
    const versions = fc.constantFrom(
      "security.istio.io/v1",
      "gateway.networking.k8s.io/v1",
      "networking.istio.io/v1",
      "v1",
    );
    const json = fc.jsonValue({ maxDepth: 4 });
    const object = fc.oneof(
      json,
      fc.record({ kind: kinds, apiVersion: versions, metadata: json, spec: json }),
      fc.record({
        kind: kinds,
        apiVersion: versions,
        metadata: fc.record({ name: fc.constant("x") }),
        spec: fc.record({ rules: json, parentRefs: json, selector: json, hosts: json }, { requiredKeys: [] }),
      }),
    );
    fc.assert(
      fc.property(object, fc.constantFrom("CREATE", "UPDATE"), (value, operation) => {
        expect(decide(value, { operation })).toMatch(/^(?:allowed$|422 .)/s);
      }),
      { numRuns: 500 },
    );
  });
});
