import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { istioZds } from "@hairpin/shared/api";
import { noLogger } from "@hairpin/shared/telemetry";
import { eventually, ManualClock } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeZtunnel } from "./testing/fake-ztunnel.ts";
import { ZdsServer } from "./zds-server.ts";

const openFiles = (): number => readdirSync("/proc/self/fd").length;

describe("ZdsServer", () => {
  let folder: string;
  let path: string;
  let server: ZdsServer;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "zds-"));
    path = join(folder, "ztunnel.sock");
    writeFileSync(join(folder, "netns"), "");
    server = new ZdsServer(path, noLogger);
    server.start();
  });
  afterEach(() => {
    server.stop();
    rmSync(folder, { recursive: true });
  });

  const pod = (uid: string) => ({
    uid,
    name: uid,
    namespace: "shop",
    serviceAccount: "default",
    netnsPath: join(folder, "netns"),
  });

  it("rejects a pod while no ztunnel is connected", async () => {
    await expect(server.add(pod("a"))).rejects.toMatchObject({ code: "ZDS_NO_ZTUNNEL" });
  });

  it("hands over the namespace's descriptor and waits for the answer", async () => {
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    expect(ztunnel.heard).toEqual(["snapshotSent", "add a"]);
    expect(ztunnel.inodes).toEqual([statSync(join(folder, "netns")).ino]);
    await server.remove("a");
    expect(ztunnel.heard.at(-1)).toBe("del a");
  });

  it("sends all pods as a snapshot to a ztunnel that connects later, and new pods only to that one", async () => {
    const first = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    const second = new FakeZtunnel(path);
    await vi.waitFor(() => expect(second.heard).toEqual(["add a", "snapshotSent"]));
    await server.add(pod("b"));
    expect(second.heard.at(-1)).toBe("add b");
    expect(first.heard).not.toContain("add b");
    await server.remove("a");
    expect([first.heard.at(-1), second.heard.at(-1)]).toEqual(["del a", "del a"]);
  });

  it("rejects with ztunnel's reason when it refuses a pod", async () => {
    const ztunnel = new FakeZtunnel(path);
    ztunnel.refuse = "cannot bind 15008";
    await vi.waitFor(async () => await expect(server.add(pod("a"))).rejects.toMatchObject({ code: "ZDS_REFUSED" }));
    await expect(server.add(pod("a"))).rejects.toThrow("cannot bind 15008");
  });

  it("forgets a ztunnel that has gone, and hands its pods to the next", async () => {
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    ztunnel.close();
    await vi.waitFor(async () => await expect(server.add(pod("b"))).rejects.toMatchObject({ code: "ZDS_NO_ZTUNNEL" }));
    const next = new FakeZtunnel(path);
    await vi.waitFor(() => expect(next.heard).toEqual(["add a", "snapshotSent"]));
  });

  it("goes back to the older ztunnel when the newer one has gone", async () => {
    const older = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    const newer = new FakeZtunnel(path);
    await vi.waitFor(() => expect(newer.heard).toContain("snapshotSent"));
    newer.close();
    await vi.waitFor(async () => {
      await server.add(pod("b"));
      expect(older.heard.at(-1)).toBe("add b");
    });
  });

  it("tells the older ztunnel of the pods that only a newer one knew, when that has gone", async () => {
    const older = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    const newer = new FakeZtunnel(path);
    await vi.waitFor(() => expect(newer.heard).toContain("snapshotSent"));
    await server.add(pod("b"));
    expect(older.heard).not.toContain("add b");
    newer.close();
    await vi.waitFor(() => expect(older.heard).toContain("add b"));
  });

  it("has pods of an earlier agent in the first snapshot", async () => {
    server.stop();
    server = new ZdsServer(path, noLogger);
    server.hold(pod("a"));
    server.start();
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(() => expect(ztunnel.heard).toEqual(["add a", "snapshotSent"]));
    await server.remove("a");
    expect(ztunnel.heard.at(-1)).toBe("del a");
  });

  it("tells when a ztunnel has come or gone", async () => {
    server.stop();
    const counts: number[] = [];
    server = new ZdsServer(path, noLogger, undefined, () => counts.push(server.ztunnelCount));
    server.start();
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(() => expect(counts).toEqual([1]));
    ztunnel.close();
    await vi.waitFor(() => expect(counts).toEqual([1, 0]));
  });

  it("hands over a pod whose namespace has lost its path", async () => {
    const first = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    rmSync(join(folder, "netns"));
    const second = new FakeZtunnel(path);
    await vi.waitFor(() => expect(second.heard).toEqual(["add a", "snapshotSent"]));
    expect(second.inodes).toEqual(first.inodes);
  });

  it("keeps the connection when a namespace cannot be opened", async () => {
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    await expect(server.add({ ...pod("b"), netnsPath: "/run/netns/gone" })).rejects.toMatchObject({ code: "ENOENT" });
    await server.add(pod("c"));
    expect(ztunnel.heard).toEqual(["snapshotSent", "add a", "add c"]);
  });

  it("refuses a pod that does not fit in a message", async () => {
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    const long = { ...pod("b"), name: "n".repeat(1024) };
    await expect(server.add(long)).rejects.toMatchObject({ code: "ZDS_BAD_POD" });
    expect(ztunnel.heard).not.toContain("add b");
  });

  it("gives a ztunnel that connects while another takes a pod both the snapshot and that pod", async () => {
    const first = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    const gate = Promise.withResolvers<void>();
    first.gate = gate.promise;
    const adding = server.add(pod("b"));
    const second = new FakeZtunnel(path);
    await vi.waitFor(() => expect(second.heard).toEqual(["add a", "snapshotSent"]));
    gate.resolve();
    await adding;
    expect(second.heard).toEqual(["add a", "snapshotSent", "add b"]);
  });

  it("tells a ztunnel in the middle of its snapshot that a pod was removed", async () => {
    const first = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    await server.add(pod("b"));
    const gate = Promise.withResolvers<void>();
    const second = new FakeZtunnel(path);
    second.gate = gate.promise;
    await vi.waitFor(() => expect(second.heard).toEqual(["add a"]));
    const removing = Promise.all([server.remove("a"), server.remove("b")]);
    gate.resolve();
    await removing;
    expect(first.heard.slice(-2)).toEqual(["del a", "del b"]);
    expect(second.heard).toEqual(["add a", "snapshotSent", "del a", "del b"]);
  });

  it("does not keep a pod that was removed while ztunnel took it", async () => {
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    const gate = Promise.withResolvers<void>();
    ztunnel.gate = gate.promise;
    const adding = server.add(pod("b"));
    const removing = server.remove("b");
    gate.resolve();
    await Promise.all([adding, removing]);
    const next = new FakeZtunnel(path);
    await vi.waitFor(() => expect(next.heard).toEqual(["add a", "snapshotSent"]));
  });

  it("leaves no descriptor open", async () => {
    const before = openFiles();
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    await server.add(pod("a"));
    await server.add(pod("b"));
    await server.remove("b");
    ztunnel.refuse = "no";
    await expect(server.add(pod("c"))).rejects.toThrow("no");
    server.stop();
    await ztunnel.ended;
    ztunnel.close();
    // The listener was open before.
    expect(openFiles()).toBe(before - 1);
  });

  it.each<[string, (ztunnel: FakeZtunnel) => void]>([
    ["unasked", (ztunnel) => ztunnel.say(Uint8Array.of(0x0a, 0x00))],
    ["what is no message", (ztunnel) => ztunnel.say(Uint8Array.of(0xff))],
    ["more than fits", (ztunnel) => ztunnel.say(new Uint8Array(2000))],
    ["with a descriptor", (ztunnel) => ztunnel.say(Uint8Array.of(0x0a, 0x00), [0])],
  ])("ends the connection of a ztunnel that speaks %s", async (_, speak) => {
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    speak(ztunnel);
    await ztunnel.ended;
    await expect(server.add(pod("b"))).rejects.toMatchObject({ code: "ZDS_NO_ZTUNNEL" });
  });

  it("ends the connection of a ztunnel of another version", async () => {
    const ztunnel = new FakeZtunnel(path, 7 as istioZds.Version);
    await ztunnel.ended;
    expect(ztunnel.heard).toEqual([]);
  });

  it("waits no longer than 5 s for an answer", async () => {
    const { clock, ztunnel } = await connectOnManualClock();
    ztunnel.gate = new Promise(() => {});
    const adding = server.add(pod("b"));
    const waiting = server.add(pod("c"));
    const outcomes = Promise.allSettled([adding, waiting]);
    await vi.waitFor(() => expect(ztunnel.heard).toContain("add b"));
    await clock.advance(4999);
    await clock.advance(1);
    for (const outcome of await outcomes)
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "ZDS_TIMEOUT" } });
    expect(ztunnel.heard).not.toContain("add c");
  });

  it("waits no longer than 5 s for hello", async () => {
    const { clock } = await connectOnManualClock();
    const mute = new FakeZtunnel(path, istioZds.Version.NOT_USED);
    await clock.advance(200);
    await eventually(() => expect(clock.pendingTimers).toBe(2));
    await clock.advance(5000);
    await mute.ended;
  });

  /** Starts the server anew on a clock that stands still, with one ztunnel that serves pod a. */
  async function connectOnManualClock(): Promise<{ clock: ManualClock; ztunnel: FakeZtunnel }> {
    server.stop();
    const clock = new ManualClock();
    server = new ZdsServer(path, noLogger, clock);
    server.start();
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    return { clock, ztunnel };
  }
});
