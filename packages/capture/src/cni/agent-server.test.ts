import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { noLogger } from "@hairpin/shared/telemetry";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentAnswer, AgentRequest } from "./agent-protocol.ts";
import { AgentServer } from "./agent-server.ts";
import { askAgent } from "./ask-agent.ts";

const request: AgentRequest = {
  command: "add",
  containerId: "c1",
  netns: "/run/netns/cni-1",
  namespace: "shop",
  name: "web-0",
  uid: undefined,
  ips: ["10.0.0.1"],
};

describe("AgentServer", () => {
  let folder: string;
  let path: string;
  let server: AgentServer;
  let answer: (request: AgentRequest) => Promise<AgentAnswer>;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "agent-"));
    path = join(folder, "run/cni.sock");
    answer = async () => ({ outcome: "captured", reason: "because" });
    server = new AgentServer(path, async (one) => await answer(one), noLogger);
    await server.start();
  });
  afterEach(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  it("answers the plugin", async () => {
    let heard: AgentRequest | undefined;
    answer = async (one) => {
      heard = one;
      return { outcome: "spared", reason: "no label" };
    };
    expect(await askAgent(path, request, 5000)).toEqual({ outcome: "spared", reason: "no label" });
    expect(heard).toEqual(request);
  });

  it("is for root only", () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "run")).mode & 0o777).toBe(0o700);
  });

  it("takes the place of a socket that an agent left behind", async () => {
    await server.stop();
    const second = new AgentServer(path, async (one) => await answer(one), noLogger);
    await second.start();
    expect(await askAgent(path, request, 5000)).toMatchObject({ outcome: "captured" });
    await second.stop();
  });

  it.each(["nonsense", "{}", '{"command":"add"}', `"${"x".repeat(70_000)}`])("does not obey %.20s", async (line) => {
    const socket = connect(path);
    socket.on("error", () => {});
    socket.write(`${line}\n`);
    const reply = await text(socket).catch(() => "");
    expect(reply).not.toContain("captured");
  });

  it("fails the call when the agent itself fails", async () => {
    answer = async () => await Promise.reject(new Error("out of files"));
    expect(await askAgent(path, request, 5000)).toEqual({ outcome: "failed", reason: "out of files" });
  });
});

describe("askAgent", () => {
  it.each([
    ["there is no socket", "/nowhere/cni.sock", /ENOENT/],
    ["the agent does not answer", undefined, /no answer within 1 ms/],
  ])("tells when %s", async (_name, given, said) => {
    const folder = mkdtempSync(join(tmpdir(), "agent-"));
    const path = given ?? join(folder, "cni.sock");
    const silent = new AgentServer(join(folder, "cni.sock"), () => new Promise(() => {}), noLogger);
    await silent.start();
    await expect(askAgent(path, request, 1)).rejects.toThrow(said);
    await silent.stop();
    rmSync(folder, { recursive: true });
  });

  it("tells when the agent goes away before it answers", async () => {
    const folder = mkdtempSync(join(tmpdir(), "agent-"));
    const asked = Promise.withResolvers<void>();
    const path = join(folder, "cni.sock");
    const server = new AgentServer(path, () => (asked.resolve(), new Promise(() => {})), noLogger);
    await server.start();
    const asking = expect(askAgent(path, request, 60_000)).rejects.toMatchObject({ name: "AgentUnreachable" });
    await asked.promise;
    await server.stop();
    await asking;
    rmSync(folder, { recursive: true });
  });
});
