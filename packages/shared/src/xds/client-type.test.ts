import { describe, expect, it } from "vitest";
import { ClientType } from "./client-type.ts";
import { Snapshot } from "./snapshot.ts";

const limits = { maxQueuedNames: 3, maxNamesPerClient: 5, maxResponseBytes: 1_000 };
const typeUrl = "type.test/address";

function resource(
  name: string,
  value: string,
  more: { aliases?: string[]; follows?: string[] } = {},
): Parameters<Snapshot["replace"]>[0] extends Iterable<infer R> ? R : never {
  return { name, body: Buffer.from(value), ...more };
}

/** A service with an address, two of its pods, and a pod of nothing on the client's node. */
function mesh(): Snapshot {
  const snapshot = new Snapshot();
  snapshot.replace([
    resource("ns/web", "web", { aliases: ["/10.96.0.1"] }),
    resource("pod-1", "1", { aliases: ["/10.0.0.1"], follows: ["ns/web", "node/n2"] }),
    resource("pod-2", "2", { aliases: ["/10.0.0.2"], follows: ["ns/web", "node/n2"] }),
    resource("pod-3", "3", { follows: ["node/n1"] }),
  ]);
  return snapshot;
}

const ask = (subscribe: string[] = [], unsubscribe: string[] = [], initialVersions: Record<string, string> = {}) =>
  ({ subscribe, unsubscribe, initialVersions }) as const;

function open(implied: string[] = []): ClientType {
  return new ClientType({ typeUrl, scope: "mesh", implied }, limits);
}

let nonce = 0;
/** Sends and acknowledges what waits; returns the names. */
function exchange(type: ClientType, snapshot: Snapshot): { sent: string[]; removed: string[] } | undefined {
  const response = type.next(snapshot);
  if (response === undefined) return undefined;
  type.sent(`n${++nonce}`, response);
  expect(type.answered(`n${nonce}`, undefined)).toBe(true);
  return { sent: response.resources.map((each) => each.name).sort(), removed: [...response.removed].sort() };
}

describe("ClientType: wildcard", () => {
  it.each([{ subscribe: [] }, { subscribe: ["*"] }])("takes $subscribe for everything", ({ subscribe }) => {
    const type = open();
    type.request(ask(subscribe), mesh());
    expect(type.wildcard).toBe(true);
    expect(exchange(type, mesh())?.sent).toEqual(["ns/web", "pod-1", "pod-2", "pod-3"]);
  });

  it("answers the first request also when there is nothing to say", () => {
    const snapshot = mesh();
    const type = open();
    const held = Object.fromEntries(Array.from(snapshot.names(), (name) => [name, snapshot.get(name)?.version ?? ""]));
    type.request(ask([], [], held), snapshot);
    expect(exchange(type, snapshot)).toEqual({ sent: [], removed: [] });
    expect(exchange(type, snapshot)).toBeUndefined();
  });

  it("sends a reconnecting client what differs and what is gone", () => {
    const snapshot = mesh();
    const type = open();
    const version = snapshot.get("pod-1")?.version ?? "";
    type.request(ask([], [], { "pod-1": version, "pod-2": "older", gone: "1" }), snapshot);
    expect(exchange(type, snapshot)).toEqual({ sent: ["ns/web", "pod-2", "pod-3"], removed: ["gone"] });
  });

  it("sends the newest version of what changed while a response was on its way", () => {
    const snapshot = mesh();
    const type = open();
    type.request(ask(), snapshot);
    const first = type.next(snapshot);
    if (first) type.sent("first", first);
    for (const value of ["a", "b", "c"]) type.changed(snapshot.update([resource("pod-1", value)], []));
    expect(type.waiting).toBe(true);
    type.answered("first", undefined);
    const second = type.next(snapshot);
    expect(second?.resources.map((each) => Buffer.from(each.body).toString())).toEqual(["c"]);
  });

  it("says nothing about a change that was taken back", () => {
    const snapshot = mesh();
    const type = open();
    type.request(ask(), snapshot);
    exchange(type, snapshot);
    type.changed(snapshot.update([resource("new", "x")], []));
    type.changed(snapshot.update([], ["new"]));
    type.changed(snapshot.update([resource("pod-1", "x")], []));
    type.changed(snapshot.update([resource("pod-1", "1")], []));
    expect(exchange(type, snapshot)).toBeUndefined();
    expect(type.upToDate).toBe(true);
  });

  it("drops the queue of a slow client at the limit and compares everything later", () => {
    const snapshot = mesh();
    const type = open();
    type.request(ask(), snapshot);
    exchange(type, snapshot);
    for (let i = 0; i < 10; i++) type.changed(snapshot.update([resource(`new-${i}`, "x")], []));
    type.changed(snapshot.update([], ["pod-3", "new-0"]));
    expect(type.resyncs).toBe(1);
    const { sent, removed } = exchange(type, snapshot) ?? { sent: [], removed: [] };
    expect(sent).toEqual(Array.from({ length: 9 }, (_, i) => `new-${i + 1}`));
    expect(removed).toEqual(["pod-3"]);
  });

  it("cuts a response that is too large and sends the rest next", () => {
    const snapshot = new Snapshot();
    snapshot.replace(["a", "b", "c"].map((name) => resource(name, name.repeat(600))));
    const type = open();
    type.request(ask(), snapshot);
    const parts = [exchange(type, snapshot), exchange(type, snapshot), exchange(type, snapshot)];
    expect(parts.map((part) => part?.sent)).toEqual([["a"], ["b"], ["c"]]);
    expect(exchange(type, snapshot)).toBeUndefined();
  });
});

describe("ClientType: acknowledgement", () => {
  it("knows which versions the client has taken, and none of a response it refused", () => {
    const snapshot = mesh();
    const type = open();
    type.request(ask(), snapshot);
    const first = type.next(snapshot);
    if (first) type.sent("first", first);
    expect(type.ackedVersion("pod-1")).toBeUndefined();
    expect(type.answered("stale", undefined)).toBe(false);
    expect(type.waiting).toBe(true);
    type.answered("first", undefined);
    expect(type.ackedVersion("pod-1")).toBe(snapshot.get("pod-1")?.version);
    type.changed(snapshot.update([resource("pod-1", "bad")], []));
    const second = type.next(snapshot);
    if (second) type.sent("second", second);
    type.answered("second", { at: new Date(0), nonce: "second", message: "pod-1: bad" });
    expect(type.ackedVersion("pod-1")).toBeUndefined();
    expect(type.nacks).toBe(1);
    // Not again before it changes.
    expect(type.next(snapshot)).toBeUndefined();
  });

  it("refuses more names than it is willing to keep", () => {
    const names = Array.from({ length: 6 }, (_, i) => `name-${i}`);
    expect(open().request(ask(names), mesh())).toContain("more than 5 names");
    expect(open().request(ask([], [], Object.fromEntries(names.map((name) => [name, ""]))), mesh())).toContain(
      "more than 5",
    );
  });
});

describe("ClientType: on demand", () => {
  it("takes * taken and given back for nothing, and still answers", () => {
    const type = open();
    type.request(ask(["*"], ["*"]), mesh());
    expect(exchange(type, mesh())).toEqual({ sent: [], removed: [] });
  });

  it.each([
    { name: "a name", subscribe: ["pod-1"], sent: ["pod-1"], removed: [] },
    { name: "an address", subscribe: ["/10.0.0.2"], sent: ["pod-2"], removed: [] },
    { name: "a service, with its workloads", subscribe: ["ns/web"], sent: ["ns/web", "pod-1", "pod-2"], removed: [] },
    { name: "a service's address", subscribe: ["/10.96.0.1"], sent: ["ns/web", "pod-1", "pod-2"], removed: [] },
    { name: "an unknown name, as removed", subscribe: ["/10.9.9.9", "pod-1"], sent: ["pod-1"], removed: ["/10.9.9.9"] },
  ])("sends $name", ({ subscribe, sent, removed }) => {
    const type = open();
    type.request(ask(subscribe), mesh());
    expect(exchange(type, mesh())).toEqual({ sent, removed });
    expect(exchange(type, mesh())).toBeUndefined();
  });

  it("adds what is implied: the workloads of the client's node", () => {
    const type = open(["node/n1"]);
    type.request(ask(["pod-1"]), mesh());
    expect(exchange(type, mesh())?.sent).toEqual(["pod-1", "pod-3"]);
  });

  it("follows changes: new pods of a subscribed service, pods that leave it, names that come to be", () => {
    const snapshot = mesh();
    const type = open();
    type.request(ask(["ns/web", "later"]), snapshot);
    exchange(type, snapshot);
    type.changed(snapshot.update([resource("pod-4", "4", { follows: ["ns/web"] }), resource("later", "!")], []));
    expect(exchange(type, snapshot)).toEqual({ sent: ["later", "pod-4"], removed: [] });
    type.changed(snapshot.update([resource("pod-4", "4 elsewhere")], ["pod-1"]));
    expect(exchange(type, snapshot)).toEqual({ sent: [], removed: ["pod-1", "pod-4"] });
    type.changed(snapshot.update([resource("stranger", "x")], []));
    expect(exchange(type, snapshot)).toBeUndefined();
  });

  it("sends a name again when it is asked for again", () => {
    const snapshot = mesh();
    const type = open();
    type.request(ask(["pod-1"]), snapshot);
    exchange(type, snapshot);
    type.request(ask(["pod-1"]), snapshot);
    expect(exchange(type, snapshot)?.sent).toEqual(["pod-1"]);
  });

  it("forgets what is unsubscribed without calling it removed", () => {
    const snapshot = mesh();
    const type = open();
    type.request(ask(["pod-1", "pod-2"]), snapshot);
    exchange(type, snapshot);
    type.request(ask([], ["pod-1"]), snapshot);
    type.changed(snapshot.update([resource("pod-1", "changed"), resource("pod-2", "changed")], []));
    expect(exchange(type, snapshot)).toEqual({ sent: ["pod-2"], removed: [] });
  });

  it("can turn to a wildcard later", () => {
    const type = open();
    type.request(ask(["pod-1"]), mesh());
    exchange(type, mesh());
    type.request(ask(["*"]), mesh());
    expect(exchange(type, mesh())?.sent).toEqual(["ns/web", "pod-2", "pod-3"]);
  });
});
