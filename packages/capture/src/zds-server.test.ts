import { closeSync, fstatSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { connectSeqpacket, type SeqpacketConnection } from "@hairpin/native";
import { istioZds } from "@hairpin/shared/api";
import { noLogger } from "@hairpin/shared/telemetry";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ZdsServer } from "./zds-server.ts";

/** ztunnel's end: says hello and answers every request, with an error when told so. */
class FakeZtunnel {
  readonly heard: string[] = [];
  readonly inodes: number[] = [];
  refuse = "";
  readonly #connection: SeqpacketConnection;

  constructor(path: string) {
    this.#connection = connectSeqpacket(path);
    const hello = create(istioZds.ZdsHelloSchema, { version: istioZds.Version.V1 });
    this.#connection.send(toBinary(istioZds.ZdsHelloSchema, hello));
    void this.#run();
  }

  close(): void {
    this.#connection.close();
  }

  async #run(): Promise<void> {
    for (;;) {
      const message = await this.#connection.receive();
      if (message === undefined) return;
      const { payload } = fromBinary(istioZds.WorkloadRequestSchema, message.bytes);
      const uid = payload.case === "add" || payload.case === "del" ? payload.value.uid : "";
      this.heard.push(`${payload.case} ${uid}`.trim());
      for (const fd of message.fds) {
        this.inodes.push(fstatSync(fd).ino);
        closeSync(fd);
      }
      const error = payload.case === "add" ? this.refuse : "";
      const answer = create(istioZds.WorkloadResponseSchema, { payload: { case: "ack", value: { error } } });
      this.#connection.send(toBinary(istioZds.WorkloadResponseSchema, answer));
    }
  }
}

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

  it("forgets a ztunnel that has gone", async () => {
    const ztunnel = new FakeZtunnel(path);
    await vi.waitFor(async () => await server.add(pod("a")));
    ztunnel.close();
    await expect(server.add(pod("b"))).rejects.toThrow();
    await expect(server.add(pod("b"))).rejects.toMatchObject({ code: "ZDS_NO_ZTUNNEL" });
  });
});
