import type { KubernetesApi } from "@hairpin/shared/kubernetes";
import { FakeApiServer, ManualClock } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Condition } from "../collection/kubernetes-object.ts";
import { fakeApiOf } from "../testing/fake-api.ts";
import { createKubernetesStatusSink } from "./kubernetes-status-sink.ts";
import type { StatusSink, StatusWrite } from "./status-writer.ts";

const service = { apiVersion: "v1", kind: "Service", namespace: "shop", name: "web" };
const policy = { apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", namespace: "shop", name: "deny" };
const route = { apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", namespace: "shop", name: "r" };

const condition = (type: string, status: Condition["status"] = "True", message = ""): Condition => ({
  type,
  status,
  reason: "Because",
  message,
});
const write = (to: typeof service, conditions: readonly Condition[], merge?: StatusWrite["merge"]): StatusWrite => ({
  ...to,
  manager: "control",
  conditions,
  ...(merge === undefined ? {} : { merge }),
});
const parent = (controllerName: string, name: string): object => ({
  controllerName,
  parentRef: { name },
  conditions: [],
});

describe("createKubernetesStatusSink", () => {
  let fake: FakeApiServer;
  let api: KubernetesApi;
  let clock: ManualClock;
  let sink: StatusSink;
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    clock = new ManualClock();
    api = fakeApiOf(fake);
    sink = createKubernetesStatusSink({ api, clock });
    for (const { namespace, name, ...kind } of [service, policy, route])
      fake.put({ ...kind, metadata: { namespace, name }, spec: {} });
  });
  afterEach(async () => {
    await fake[Symbol.asyncDispose]();
  });
  const statusOf = ({ kind }: { readonly kind: string }, name: string): Record<string, unknown> =>
    (fake.find(kind, "shop", name)?.["status"] ?? {}) as Record<string, unknown>;
  const conditionsOf = (of: typeof service): readonly Condition[] =>
    (statusOf(of, of.name)["conditions"] ?? []) as Condition[];
  const others = (to: typeof service, status: object): Promise<unknown> => {
    const { namespace, name, ...kind } = to;
    const object = { ...kind, metadata: { namespace, name }, status };
    return api.apply(object, { fieldManager: "other", subresource: "status", force: true });
  };

  test("writes conditions as its own field manager, and stamps them", async () => {
    await sink.write(write(service, [condition("istio.io/WaypointBound")]));
    expect(conditionsOf(service)).toEqual([
      { ...condition("istio.io/WaypointBound"), lastTransitionTime: "2026-01-01T00:00:00Z" },
    ]);
    const managers = fake.find("Service", "shop", "web")?.metadata.managedFields as { manager: string }[];
    expect(managers.map(({ manager }) => manager)).toContain("hairpin-control");
  });

  test("keeps the time of a condition until its status flips", async () => {
    await sink.write(write(service, [condition("A", "True", "one")]));
    await clock.advance(60_000);
    await sink.write(write(service, [condition("A", "True", "two")]));
    expect(conditionsOf(service)[0]).toMatchObject({ message: "two", lastTransitionTime: "2026-01-01T00:00:00Z" });
    await sink.write(write(service, [condition("A", "False", "two")]));
    expect(conditionsOf(service)[0]).toMatchObject({ lastTransitionTime: "2026-01-01T00:01:00Z" });
  });

  test("takes back what it does not say any more, and leaves others' conditions", async () => {
    await others(service, { conditions: [condition("LoadBalancerReady")] });
    await sink.write(write(service, [condition("A"), condition("B")]));
    expect(conditionsOf(service).map(({ type }) => type)).toEqual(["LoadBalancerReady", "A", "B"]);
    await sink.write(write(service, [condition("B")]));
    expect(conditionsOf(service).map(({ type }) => type)).toEqual(["LoadBalancerReady", "B"]);
    await sink.write(write(service, []));
    expect(conditionsOf(service).map(({ type }) => type)).toEqual(["LoadBalancerReady"]);
  });

  test("leaves others' conditions also where the server takes the list for one value", async () => {
    await others(policy, { conditions: [condition("Analyzed")], observedGeneration: "1" });
    await sink.write(write(policy, [condition("ZtunnelAccepted")]));
    expect(conditionsOf(policy).map(({ type }) => type)).toEqual(["Analyzed", "ZtunnelAccepted"]);
    await sink.write(write(policy, [condition("WaypointAccepted")]));
    expect(conditionsOf(policy).map(({ type }) => type)).toEqual(["Analyzed", "WaypointAccepted"]);
    expect(statusOf(policy, "deny")["observedGeneration"]).toBe("1");
  });

  test("replaces its own parents of a route, and keeps those that another controller wrote meanwhile", async () => {
    const ours = (name: string): object => parent("istio.io/gateway-controller", name);
    await sink.write(write(route, [], { parents: [ours("a"), ours("b")] }));
    await others(route, { parents: [ours("a"), parent("example.com/other", "g")] });
    // Decided before the other's entry was seen.
    await sink.write(write(route, [], { parents: [ours("b")] }));
    expect(statusOf(route, "r")["parents"]).toEqual([parent("example.com/other", "g"), ours("b")]);
  });

  test("decides again when the object changed in between", async () => {
    const overtaken = { ...api };
    let overtakes = 0;
    overtaken.get = async (path) => {
      const found = await api.get(path);
      if (overtakes++ === 0) await others(policy, { conditions: [condition("Analyzed")] });
      return found as never;
    };
    overtaken.apply = (object, options) => api.apply(object, options);
    await createKubernetesStatusSink({ api: overtaken, clock }).write(write(policy, [condition("ZtunnelAccepted")]));
    expect(conditionsOf(policy).map(({ type }) => type)).toEqual(["Analyzed", "ZtunnelAccepted"]);
    expect(overtakes).toBe(2);
  });

  test("leaves alone what is gone, and an object of the same name that came after it is decided anew", async () => {
    fake.remove("Service", "shop", "web");
    await sink.write(write(service, [condition("A")]));
    expect(fake.find("Service", "shop", "web")).toBeUndefined();
    fake.stopServing("HTTPRoute");
    await sink.write(write(route, [], { parents: [] }));
  });

  test("passes other failures on", async () => {
    fake.fail({ verb: "apply" }, { status: 500 });
    await expect(sink.write(write(service, [condition("A")]))).rejects.toMatchObject({ code: "API_UNAVAILABLE" });
  });
});
