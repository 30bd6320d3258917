import { linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noLogger } from "@hairpin/shared/telemetry";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentRequest } from "../cni/agent-protocol.ts";
import { nodePod } from "../testing/node-pods.ts";
import { CniRequests } from "./cni-requests.ts";
import { hostProc } from "./host-proc.ts";
import type { NodePod } from "./node-pod.ts";
import type { PodNetwork } from "./pod-network.ts";

/** Files in place of namespaces: they have inodes too. */
describe("CniRequests", () => {
  let folder: string;
  let pods: NodePod[];
  let done: string[];
  let failure: Error | undefined;
  let requests: CniRequests;
  const netns = (name: string): string => join(folder, "1/root/run/netns", name);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "proc-"));
    mkdirSync(join(folder, "1/ns"), { recursive: true });
    mkdirSync(join(folder, "1/root/run/netns"), { recursive: true });
    writeFileSync(join(folder, "1/ns/net"), "");
    writeFileSync(netns("cni-1"), "");
    pods = [nodePod("a"), nodePod("b")];
    done = [];
    failure = undefined;
    requests = new CniRequests({
      host: hostProc(folder),
      logger: noLogger,
      objects: {
        fetch: async ({ namespace, name, uid }) =>
          pods.find((pod) => pod.namespace === namespace && pod.name === name && (uid ?? pod.uid) === pod.uid),
        decide: ({ name }) => ({ captured: name === "a", reason: `of ${name}` }),
        isWanted: ({ name }) => name === "a",
        list: () => pods,
      },
      capture: {
        add: async ({ name }: NodePod, network: PodNetwork) => {
          done.push(`add ${name} ${network.ips.join()}`);
          if (failure !== undefined) throw failure;
          network.close();
          return name === "a";
        },
        remove: async (uid) => void done.push(`remove ${uid}`),
        isCaptured: (uid) => done.includes(`captured ${uid}`),
      },
    });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const request = (command: AgentRequest["command"], name = "a", given: Partial<AgentRequest> = {}): AgentRequest => ({
    command,
    containerId: `sandbox-${name}`,
    netns: "/run/netns/cni-1",
    namespace: "shop",
    name,
    uid: `uid-${name}`,
    ips: ["10.0.0.9"],
    ...given,
  });

  it("captures a pod with the addresses it has just been given", async () => {
    expect(await requests.answer(request("add"))).toEqual({ outcome: "captured", reason: "of a" });
    expect(done).toEqual(["add a 10.0.0.9"]);
  });

  it("lets a pod start that is not to be captured", async () => {
    expect(await requests.answer(request("add", "b"))).toEqual({ outcome: "spared", reason: "of b" });
  });

  it("finds a pod by name where the runtime tells no uid", async () => {
    expect(await requests.answer(request("add", "a", { uid: undefined }))).toMatchObject({ outcome: "captured" });
  });

  it.each<[string, Partial<AgentRequest>, RegExp]>([
    ["that nobody knows", { name: "x" }, /pod shop\/x cannot be captured: the API server knows no such pod/],
    ["of another uid", { uid: "uid-old" }, /knows no such pod/],
    ["without a namespace", { netns: "/run/netns/gone" }, /ENOENT/],
  ])("fails a pod %s", async (_name, given, said) => {
    expect(await requests.answer(request("add", "a", given))).toEqual({
      outcome: "failed",
      reason: expect.stringMatching(said),
    });
    expect(done).toEqual([]);
  });

  it("lets a pod start that is not to be captured, whatever is wrong with its namespace", async () => {
    const answer = await requests.answer(request("add", "b", { netns: "/run/netns/gone" }));
    expect(answer).toEqual({ outcome: "spared", reason: "of b" });
    expect(done).toEqual([]);
  });

  it("never programs the node's own namespace", async () => {
    linkSync(join(folder, "1/ns/net"), netns("host"));
    const answer = await requests.answer(request("add", "a", { netns: "/run/netns/host" }));
    expect(answer).toMatchObject({ outcome: "failed", reason: expect.stringContaining("namespace of the node") });
    expect(done).toEqual([]);
  });

  it("says why a pod could not be captured", async () => {
    failure = new Error("no ztunnel is connected");
    expect(await requests.answer(request("add"))).toEqual({
      outcome: "failed",
      reason: "pod shop/a cannot be captured: no ztunnel is connected",
    });
  });

  it("removes a pod whose sandbox ends, also when its namespace has gone already", async () => {
    await requests.answer(request("add"));
    await requests.answer(request("del", "a", { netns: "" }));
    expect(done.at(-1)).toBe("remove uid-a");
  });

  it("removes a pod that ran before the agent by its namespace", async () => {
    await requests.answer(request("del"));
    expect(done).toEqual(["remove uid-a"]);
  });

  it("removes nothing for a sandbox that it does not know and that has gone", async () => {
    await requests.answer(request("del", "a", { netns: "" }));
    await requests.answer(request("del", "a", { netns: "/run/netns/gone" }));
    expect(done).toEqual([]);
  });

  it("checks that a pod that is to be captured is", async () => {
    expect(await requests.answer(request("check"))).toMatchObject({ outcome: "failed" });
    expect(await requests.answer(request("check", "b"))).toMatchObject({ outcome: "spared" });
    done.push("captured uid-a");
    expect(await requests.answer(request("check"))).toMatchObject({ outcome: "captured" });
  });
});
