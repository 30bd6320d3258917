import type { CapturePods } from "@hairpin/capture";
import { nodePodOf, redirectionAnnotation } from "@hairpin/capture";
import { describe, expect, it } from "vitest";
import { namespaceKind, podKind } from "../object/kinds.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { pod, shopStore } from "../testing/objects.ts";
import { storePods } from "./store-pods.ts";

function start(): { store: ObjectStore; pods: CapturePods; created: Pod } {
  const store = shopStore();
  const created = store.create(pod({ name: "a" })) as Pod;
  return { store, pods: storePods(store, "istio-system"), created };
}

describe("storePods", () => {
  it("wants a pod when its namespace's label says so", () => {
    const { store, pods, created } = start();
    expect(pods.isWanted(nodePodOf(created))).toBe(false);
    const shop = store.find(namespaceKind, undefined, "shop")!;
    store.update({ ...shop, metadata: { ...shop.metadata, labels: { "istio.io/dataplane-mode": "ambient" } } });
    expect(pods.isWanted(nodePodOf(created))).toBe(true);
  });

  it("writes the annotation and takes it away, beside others", async () => {
    const { store, pods, created } = start();
    store.update({ ...created, metadata: { ...created.metadata, annotations: { other: "stays" } } });
    const annotations = () => store.find(podKind, "shop", "a")?.metadata.annotations;
    await pods.annotate(nodePodOf(created), "enabled");
    expect(annotations()).toEqual({ other: "stays", [redirectionAnnotation]: "enabled" });
    await pods.annotate(nodePodOf(created), undefined);
    expect(annotations()).toEqual({ other: "stays" });
  });

  it("finds a pod as it is now, and none that is another or being deleted", () => {
    const { store, pods, created } = start();
    const wanted = nodePodOf(created);
    expect(pods.find(wanted)).toEqual(wanted);
    expect(pods.find({ ...wanted, uid: "other" })).toBeUndefined();
    store.update({ ...created, metadata: { ...created.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } });
    expect(pods.find(wanted)).toBeUndefined();
  });
});
