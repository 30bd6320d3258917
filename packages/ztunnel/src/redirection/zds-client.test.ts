import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { listenSeqpacket, type NetnsHandle, type SeqpacketConnection, type SeqpacketListener } from "@hairpin/native";
import { istioZds } from "@hairpin/shared/api";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { eventually, ManualClock } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PodIdentity } from "../pod-proxy.ts";
import { PodRetry } from "./pod-retry.ts";
import { type PodHandler, ZdsClient } from "./zds-client.ts";

type Request = NonNullable<MessageInitShape<typeof istioZds.WorkloadRequestSchema>["payload"]>;

/** Remembers what it was told; refuses pods whose name is `bad`. */
class FakePods implements PodHandler {
  readonly served = new Map<string, PodIdentity>();
  readonly inodes: number[] = [];
  failures = 0;
  /** Attempts wait for it. */
  gate: Promise<void> = Promise.resolve();

  get uids(): readonly string[] {
    return [...this.served.keys()];
  }

  async add(pod: PodIdentity, netns: NetnsHandle): Promise<void> {
    this.inodes.push(fstatSync(netns.fd).ino);
    netns.close();
    await this.gate;
    if (this.failures > 0) {
      this.failures--;
      throw new Error("listen EADDRINUSE");
    }
    this.served.set(pod.uid, pod);
  }

  async remove(uid: string): Promise<void> {
    this.served.delete(uid);
  }
}

const info = { name: "web", namespace: "shop", serviceAccount: "web" };
const openFiles = (): number => readdirSync("/proc/self/fd").length;

describe("ZdsClient", () => {
  let folder: string;
  let listener: SeqpacketListener;
  let agent: SeqpacketConnection;
  let client: ZdsClient;
  let pods: FakePods;
  let snapshots: number;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "zds-"));
    const path = join(folder, "ztunnel.sock");
    listener = listenSeqpacket(path);
    pods = new FakePods();
    snapshots = 0;
    client = new ZdsClient(path, { pods, clock: systemClock, logger: noLogger, onSnapshot: () => snapshots++ });
    client.start();
    agent = await accept();
  });

  afterEach(() => {
    client.stop();
    agent.close();
    listener.close();
    rmSync(folder, { recursive: true });
  });

  /** Waits for a connection and its hello. */
  async function accept(): Promise<SeqpacketConnection> {
    const connection = await listener.accept();
    const hello = await connection?.receive();
    if (!connection || !hello) throw new Error("no hello");
    expect(fromBinary(istioZds.ZdsHelloSchema, hello.bytes).version).toBe(istioZds.Version.V1);
    return connection;
  }

  /** Sends a request and gives the error of its answer; undefined: the client hung up. */
  async function ask(payload: Request, withNetns = false): Promise<string | undefined> {
    const bytes = toBinary(istioZds.WorkloadRequestSchema, create(istioZds.WorkloadRequestSchema, { payload }));
    const fd = withNetns ? openSync(folder, "r") : undefined;
    agent.send(bytes, fd === undefined ? [] : [fd]);
    if (fd !== undefined) closeSync(fd);
    const answer = await agent.receive();
    if (!answer) return undefined;
    const { payload: ack } = fromBinary(istioZds.WorkloadResponseSchema, answer.bytes);
    return ack.case === "ack" ? ack.value.error : "no ack";
  }

  const add = (uid: string): Promise<string | undefined> =>
    ask({ case: "add", value: { uid, workloadInfo: info } }, true);

  it("hands over each pod with its namespace and acknowledges it", async () => {
    expect(await add("u1")).toBe("");
    expect(pods.served.get("u1")).toEqual({ uid: "u1", info: expect.objectContaining(info) });
    expect(pods.inodes).toEqual([fstatSync(openSync(folder, "r")).ino]);
  });

  it("tells the agent why a pod is not served", async () => {
    pods.failures = 1;
    expect(await add("u1")).toBe("listen EADDRINUSE");
    expect(await add("u2")).toBe("");
  });

  it("says when the snapshot is complete, and stops pods that it does not name", async () => {
    pods.served.set("old", { uid: "old", info });
    pods.served.set("kept", { uid: "kept", info });
    await add("new");
    expect(await ask({ case: "keep", value: { uid: "kept" } })).toBe("");
    expect(snapshots).toBe(0);
    expect(await ask({ case: "snapshotSent", value: {} })).toBe("");
    expect(snapshots).toBe(1);
    expect(pods.uids.toSorted()).toEqual(["kept", "new"]);
  });

  it("stops a pod when told, also one it does not know", async () => {
    await add("u1");
    expect(await ask({ case: "del", value: { uid: "u1" } })).toBe("");
    expect(await ask({ case: "del", value: { uid: "nobody" } })).toBe("");
    expect(pods.uids).toEqual([]);
  });

  it("keeps pods while the agent is away, and connects again", async () => {
    await add("u1");
    agent.close();
    agent = await accept();
    expect(pods.uids).toEqual(["u1"]);
    expect(await ask({ case: "keep", value: { uid: "u1" } })).toBe("");
    expect(await ask({ case: "snapshotSent", value: {} })).toBe("");
    expect(pods.uids).toEqual(["u1"]);
  });

  it.each<[string, Request, boolean]>([
    ["an add without namespace", { case: "add", value: { uid: "u", workloadInfo: info } }, false],
    ["a descriptor with another request", { case: "del", value: { uid: "u" } }, true],
  ])("hangs up on %s and keeps no descriptor", async (_, payload, withNetns) => {
    const before = openFiles();
    expect(await ask(payload, withNetns)).toBeUndefined();
    agent.close();
    agent = await accept();
    await eventually(() => expect(openFiles()).toBeLessThanOrEqual(before));
  });

  it("hangs up on what is no message, and keeps no descriptor", async () => {
    const before = openFiles();
    const fd = openSync(folder, "r");
    agent.send(Uint8Array.of(0xff), [fd]);
    closeSync(fd);
    expect(await agent.receive()).toBeUndefined();
    agent.close();
    agent = await accept();
    await eventually(() => expect(openFiles()).toBeLessThanOrEqual(before));
  });

  it("refuses a pod that comes without its name, and closes its namespace", async () => {
    const before = openFiles();
    expect(await ask({ case: "add", value: { uid: "u" } }, true)).toBe("pod u came without workload info");
    expect(openFiles()).toBe(before);
  });

  it.each<[string, Request]>([
    ["a second snapshot", { case: "snapshotSent", value: {} }],
    ["keep after the snapshot", { case: "keep", value: { uid: "u" } }],
  ])("hangs up on %s", async (_, payload) => {
    expect(await ask({ case: "snapshotSent", value: {} })).toBe("");
    expect(await ask(payload)).toBeUndefined();
    agent = await accept();
  });

  it("answers a request it does not know, as protobuf lets newer agents send", async () => {
    agent.send(Uint8Array.of(0x7a, 0x00));
    const answer = await agent.receive();
    expect(answer && fromBinary(istioZds.WorkloadResponseSchema, answer.bytes).payload.case).toBe("ack");
  });
});

describe("PodRetry", () => {
  const pod: PodIdentity = { uid: "u1", info };
  /** A handle that counts whether it was closed. */
  function handle(closed: string[], name: string): NetnsHandle {
    return { fd: openSync("/", "r"), close: () => void closed.push(name) };
  }

  function setUp(failures: number) {
    const pods = new FakePods();
    pods.failures = failures;
    const clock = new ManualClock();
    const closed: string[] = [];
    const retry = new PodRetry({
      pods,
      clock,
      logger: noLogger,
      onChange: () => {},
      reopen: () => handle(closed, "spare"),
    });
    return { pods, clock, closed, retry };
  }

  it("keeps no second handle of a pod that is served", async () => {
    const { closed, retry, clock } = setUp(0);
    await retry.add(pod, handle(closed, "given"));
    expect(closed).toEqual(["given", "spare"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("tries a pod again every 5 s until it is served", async () => {
    const { pods, clock, closed, retry } = setUp(2);
    await expect(retry.add(pod, handle(closed, "given"))).rejects.toThrow("EADDRINUSE");
    await clock.advance(4999);
    expect(pods.inodes).toHaveLength(1);
    await clock.advance(1);
    await eventually(() => expect(pods.inodes).toHaveLength(2));
    await eventually(() => expect(clock.pendingTimers).toBe(1));
    await clock.advance(5000);
    await eventually(() => expect(pods.uids).toEqual(["u1"]));
    expect(clock.pendingTimers).toBe(0);
  });

  it("gives up when the pod is removed while it is tried", async () => {
    const { pods, clock, closed, retry } = setUp(1);
    const gate = Promise.withResolvers<void>();
    pods.gate = gate.promise;
    const adding = expect(retry.add(pod, handle(closed, "given"))).rejects.toThrow("EADDRINUSE");
    await retry.remove("u1");
    gate.resolve();
    await adding;
    expect(clock.pendingTimers).toBe(0);
    expect(closed).toEqual(["given", "spare"]);
  });

  it("gives up when it is stopped", async () => {
    const { clock, closed, retry } = setUp(1);
    await expect(retry.add(pod, handle(closed, "given"))).rejects.toThrow();
    retry.stop();
    expect(clock.pendingTimers).toBe(0);
    expect(closed).toEqual(["given", "spare"]);
  });

  it("closes the namespace when it cannot hold a second handle", async () => {
    const closed: string[] = [];
    const retry = new PodRetry({
      pods: new FakePods(),
      clock: new ManualClock(),
      logger: noLogger,
      onChange: () => {},
      reopen: () => {
        throw new Error("EMFILE");
      },
    });
    await expect(retry.add(pod, handle(closed, "given"))).rejects.toThrow("EMFILE");
    expect(closed).toEqual(["given"]);
  });

  it("gives up when the pod is removed", async () => {
    const { pods, clock, closed, retry } = setUp(1);
    await expect(retry.add(pod, handle(closed, "given"))).rejects.toThrow();
    await retry.remove("u1");
    await clock.advance(60_000);
    expect(pods.inodes).toHaveLength(1);
    expect(closed).toEqual(["given", "spare"]);
  });
});
