import { describe, expect, it } from "vitest";
import { podKind } from "../object/kinds.ts";
import { object, pod } from "../testing/objects.ts";
import { ObjectStore } from "./object-store.ts";
import { StatusWriter } from "./object-status.ts";

describe("ObjectStore", () => {
  it("gives a new object uid, generation and a resourceVersion that grows with every change", () => {
    const store = new ObjectStore();
    const created = store.create(pod({ name: "a" }));
    expect(created.metadata).toMatchObject({ generation: 1, resourceVersion: "1" });
    expect(created.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    const changed = store.update({ ...created, spec: { containers: [] } });
    expect(changed?.metadata).toMatchObject({ generation: 2, resourceVersion: "2", uid: created.metadata.uid });
  });

  it("does not count a change of status or labels as a new generation", () => {
    const store = new ObjectStore();
    const created = store.create(pod({ name: "a" }));
    const changed = store.update({ ...created, status: { phase: "Failed" } });
    expect(changed?.metadata).toMatchObject({ generation: 1, resourceVersion: "2" });
  });

  it("tells nobody about an update that changes nothing, whatever is undefined in it", () => {
    const store = new ObjectStore();
    const created = store.create(pod({ name: "a" }));
    const changes: string[] = [];
    store.onChange(({ type }) => changes.push(type));
    store.update({ ...created, status: { ...(created.status as object), reason: undefined } });
    expect(changes).toEqual([]);
    store.remove(created);
    expect(changes).toEqual(["DELETED"]);
    expect(store.find(podKind, "shop", "a")).toBeUndefined();
  });

  it("refuses more objects than its limit", () => {
    const store = new ObjectStore({ maxObjects: 1 });
    store.create(pod({ name: "a" }));
    expect(() => store.create(pod({ name: "b" }))).toThrow("holds 1 objects and takes no more");
  });
});

describe("StatusWriter", () => {
  const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
  const service = { apiVersion: "v1", kind: "Service", namespace: "shop", name: "cart" };

  it("replaces a manager's conditions as a set and leaves those of others", () => {
    const store = new ObjectStore();
    store.create(object("v1", "Service", "cart"));
    const writer = new StatusWriter(store);
    writer.write({
      ...service,
      manager: "one",
      conditions: [
        { type: "A", status: "True" },
        { type: "B", status: "True" },
      ],
    });
    writer.write({ ...service, manager: "two", conditions: [{ type: "C", status: "False" }] });
    writer.write({ ...service, manager: "one", conditions: [{ type: "B", status: "False" }] });
    expect(conditionsOf(store).map(({ type, status }) => `${type}=${status}`)).toEqual(["B=False", "C=False"]);
  });

  it("moves lastTransitionTime only when the status flips", () => {
    const store = new ObjectStore();
    store.create(object("v1", "Service", "cart"));
    let second = 1;
    const writer = new StatusWriter(store, () => at(second));
    writer.write({ ...service, manager: "one", conditions: [{ type: "A", status: "True", message: "x" }] });
    second = 2;
    writer.write({ ...service, manager: "one", conditions: [{ type: "A", status: "True", message: "y" }] });
    expect(conditionsOf(store)[0]?.lastTransitionTime).toBe("2026-01-01T00:00:01Z");
    writer.write({ ...service, manager: "one", conditions: [{ type: "A", status: "False" }] });
    expect(conditionsOf(store)[0]?.lastTransitionTime).toBe("2026-01-01T00:00:02Z");
  });

  it("makes no new resourceVersion when nothing changed, and says when the object is gone", () => {
    const store = new ObjectStore();
    store.create(object("v1", "Service", "cart"));
    const writer = new StatusWriter(store);
    const update = { ...service, manager: "one", conditions: [{ type: "A", status: "True" }], merge: { extra: 1 } };
    expect(writer.write(update)).toBe("changed");
    expect(writer.write(update)).toBe("unchanged");
    expect(writer.write({ ...update, name: "gone" })).toBe("not found");
  });

  function conditionsOf(store: ObjectStore): readonly { type: string; status: string; lastTransitionTime?: string }[] {
    const [first] = store.all() as readonly { status?: { conditions?: never } }[];
    return first?.status?.conditions ?? [];
  }
});
