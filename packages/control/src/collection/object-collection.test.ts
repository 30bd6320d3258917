import { describe, expect, test, vi } from "vitest";
import { aNamespace, aPod, aServiceObject } from "../testing/objects.ts";
import { ObjectCollection } from "./object-collection.ts";

describe("ObjectCollection", () => {
  test("finds objects by kind, namespace and name, and lists them by key", () => {
    const objects = new ObjectCollection();
    objects.put(aPod("b"));
    objects.put(aPod("a"));
    objects.put(aPod("a", { namespace: "other" }));
    objects.put(aNamespace("shop"));
    const snapshot = objects.snapshot();
    expect(snapshot.find("Pod", "shop", "a")?.metadata.uid).toBe("uid-a");
    expect(snapshot.find("Namespace", "", "shop")).toBeDefined();
    expect(snapshot.find("Service", "shop", "a")).toBeUndefined();
    expect(snapshot.list("Pod").map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual([
      "other/a",
      "shop/a",
      "shop/b",
    ]);
    expect(snapshot.listIn("Pod", "shop")).toHaveLength(2);
  });

  test("keeps a snapshot as it was while the collection changes", () => {
    const objects = new ObjectCollection();
    objects.put(aPod("a"));
    const before = objects.snapshot();
    objects.remove(aPod("a"));
    expect(before.find("Pod", "shop", "a")).toBeDefined();
    expect(objects.snapshot().find("Pod", "shop", "a")).toBeUndefined();
    expect(objects.snapshot()).toBe(objects.snapshot());
  });

  test("gives lists and namespaces without a change as the same objects in the next snapshot", () => {
    const objects = new ObjectCollection();
    objects.replaceAll([aPod("b"), aPod("a"), aPod("a", { namespace: "shop-2" }), aServiceObject("a", "10.0.0.1")]);
    const before = objects.snapshot();
    const names = (): (string | undefined)[] => objects.snapshot().namespaces.map(({ name }) => name);
    const services = before.list("Service");
    expect(before.list("Pod")).toHaveLength(3);
    // As their keys: "shop-2/a" comes before "shop/a".
    expect(names()).toEqual(["shop-2", "shop"]);

    objects.put(aPod("aa"));
    objects.remove(aPod("b"));
    const after = objects.snapshot();
    expect(after.list("Pod").map(({ metadata }) => metadata.name)).toEqual(["a", "a", "aa"]);
    expect(after.list("Service")).toBe(services);
    expect(after.listIn("Service", "shop")).toBe(before.listIn("Service", "shop"));
    expect(after.listIn("Pod", "shop-2")).toBe(before.listIn("Pod", "shop-2"));
    expect(after.namespaces[0]).toBe(before.namespaces[0]);
    expect(after.namespaces[1]).not.toBe(before.namespaces[1]);

    objects.remove(aPod("a", { namespace: "shop-2" }));
    expect(names()).toEqual(["shop"]);
    expect(objects.snapshot().list("Pod")).toHaveLength(2);
  });

  test("drops kinds it does not read, also those with a name it knows from another API group", () => {
    const objects = new ObjectCollection();
    const listener = vi.fn();
    objects.onChange(listener);
    objects.put({ ...aServiceObject("a", "10.0.0.1"), apiVersion: "serving.knative.dev/v1" });
    objects.put({ ...aNamespace("a"), apiVersion: "networking.istio.io/v1", kind: "Gateway" });
    objects.put({ ...aNamespace("a"), kind: "ConfigMap" });
    expect(objects.size).toBe(0);
    expect(listener).not.toHaveBeenCalled();
  });

  test("loses what a full listing does not name, and is synced from then on", () => {
    const objects = new ObjectCollection();
    objects.put(aPod("old"));
    expect(objects.synced).toBe(false);
    objects.replaceAll([aPod("new")]);
    expect(objects.synced).toBe(true);
    expect(
      objects
        .snapshot()
        .list("Pod")
        .map(({ metadata }) => metadata.name),
    ).toEqual(["new"]);
  });

  test("stops telling a listener that was taken off", () => {
    const objects = new ObjectCollection();
    const listener = vi.fn();
    const end = objects.onChange(listener);
    objects.put(aPod("a"));
    end();
    objects.put(aPod("b"));
    expect(listener).toHaveBeenCalledTimes(1);
  });
});
