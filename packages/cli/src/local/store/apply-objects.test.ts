import { describe, expect, it } from "vitest";
import { deploymentKind, podKind, serviceKind } from "../object/kinds.ts";
import type { KubernetesObject } from "../object/kubernetes-object.ts";
import { object, pod, shopStore } from "../testing/objects.ts";
import { type AppliedObject, ObjectApplier } from "./apply-objects.ts";

function from(...objects: readonly KubernetesObject[]): readonly AppliedObject[] {
  return objects.map((one, index) => ({ object: one, origin: { file: "a.yaml", line: index + 1 } }));
}

describe("ObjectApplier", () => {
  it("says created, unchanged and configured, and keeps what the mesh wrote", () => {
    const store = shopStore();
    const applier = new ObjectApplier(store);
    const service = object("v1", "Service", "cart", { spec: { ports: [{ port: 80 }] } });
    expect(applier.apply(from(service)).results[0]?.outcome).toBe("created");
    const stored = store.find(serviceKind, "shop", "cart");
    store.update({ ...stored!, spec: { ...stored!.spec, clusterIP: "10.96.0.20" } });
    expect(applier.apply(from(service)).results[0]?.outcome).toBe("unchanged");
    const changed = object("v1", "Service", "cart", { spec: { ports: [{ port: 81 }] } });
    expect(applier.apply(from(changed)).results[0]?.outcome).toBe("configured");
    expect(store.find(serviceKind, "shop", "cart")?.spec).toEqual({ ports: [{ port: 81 }], clusterIP: "10.96.0.20" });
  });

  it("stores nothing when one object is wrong, and says where it stands", () => {
    const store = shopStore();
    const applier = new ObjectApplier(store);
    const { errors, results } = applier.apply(
      from(pod({ name: "good" }), pod({ name: "bad", spec: { containers: [{ name: "main", image: "nginx" }] } })),
    );
    expect(results).toEqual([]);
    expect(errors).toEqual([
      {
        file: "a.yaml",
        line: 2,
        path: "spec.containers[0].command",
        object: "Pod shop/bad",
        reason: expect.stringContaining("the local mesh pulls no image"),
      },
    ]);
    expect(store.list(podKind)).toEqual([]);
  });

  it.each([
    ["an unknown kind", object("v1", "Cart", "a"), "kind"],
    ["a wrong version", object("apps/v2", "Deployment", "a"), "apiVersion"],
    ["a name that is none", object("v1", "Service", "A_b"), "metadata.name"],
    [
      "a namespace that does not exist",
      object("v1", "Service", "a", { metadata: { namespace: "nowhere" } }),
      "metadata.namespace",
    ],
    [
      "a volume whose name is a path",
      pod({ name: "a", spec: { volumes: [{ name: "../../control", emptyDir: {} }] } }),
      "spec.volumes[0].name",
    ],
    [
      "a container whose name is a path",
      pod({ name: "a", spec: { containers: [{ name: "../m", command: ["x"] }] } }),
      "spec.containers[0].name",
    ],
    ...(
      [
        ["a relative mount", [{ name: "v", mountPath: "run/v" }], "[0].mountPath"],
        [
          "a mount inside another",
          [
            { name: "v", mountPath: "/var/run/v/w" },
            { name: "v", mountPath: "/run/v" },
          ],
          "[0].mountPath",
        ],
        ["a subPath that climbs", [{ name: "v", mountPath: "/run/v", subPath: "a/../../b" }], "[0].subPath"],
      ] as const
    ).map(([what, volumeMounts, path]): [string, KubernetesObject, string] => [
      what,
      pod({
        name: "a",
        spec: { volumes: [{ name: "v", emptyDir: {} }], containers: [{ name: "m", command: ["x"], volumeMounts }] },
      }),
      `spec.containers[0].volumeMounts${path}`,
    ]),
    [
      "a mount without its volume",
      pod({
        name: "a",
        spec: { containers: [{ name: "m", command: ["x"], volumeMounts: [{ name: "v", mountPath: "/run/v" }] }] },
      }),
      "spec.containers[0].volumeMounts[0].name",
    ],
    [
      "a volume of an unknown sort",
      pod({ name: "a", spec: { volumes: [{ name: "v", nfs: {} } as never] } }),
      "spec.volumes[0]",
    ],
    [
      "a selector that its own pods do not match",
      object("apps/v1", "Deployment", "a", {
        spec: { selector: { matchLabels: { app: "a" } }, template: { spec: pod({ name: "x" }).spec } },
      }),
      "spec.template.metadata.labels",
    ],
  ])("refuses %s", (_name, wrong, path) => {
    const { errors } = new ObjectApplier(shopStore()).apply(from(wrong));
    expect(errors.map((error) => error.path)).toEqual([path]);
  });

  it("takes objects of a namespace that comes later in the same set", () => {
    const store = shopStore();
    const namespace: KubernetesObject = { apiVersion: "v1", kind: "Namespace", metadata: { name: "new" } };
    const service = object("v1", "Service", "a", { metadata: { namespace: "new" } });
    expect(new ObjectApplier(store).apply(from(service, namespace)).errors).toEqual([]);
    expect(store.find(serviceKind, "new", "a")).toBeDefined();
  });

  it("refuses to change the spec of a pod that runs", () => {
    const store = shopStore();
    const applier = new ObjectApplier(store);
    applier.apply(from(pod({ name: "a" })));
    const { errors } = applier.apply(from(pod({ name: "a", spec: { hostname: "other" } })));
    expect(errors[0]).toMatchObject({ path: "spec", reason: expect.stringContaining("delete the pod first") });
  });

  it("deletes pods gracefully and everything else at once, and says what was not there", () => {
    const store = shopStore();
    const applier = new ObjectApplier(store);
    const deployment = object("apps/v1", "Deployment", "d", { spec: { template: { spec: pod({ name: "x" }).spec } } });
    applier.apply(from(pod({ name: "a" }), deployment));
    const { results } = applier.delete(from(pod({ name: "a" }), deployment, pod({ name: "b" })));
    expect(results.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual(["b not found", "d deleted", "a deleted"]);
    expect(store.find(podKind, "shop", "a")?.metadata.deletionTimestamp).toBeDefined();
    expect(store.find(deploymentKind, "shop", "d")).toBeUndefined();
  });
});
