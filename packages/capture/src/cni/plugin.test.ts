import { describe, expect, it } from "vitest";
import type { CaptureDecision } from "../capture-rule.ts";
import type { AgentAnswer, AgentRequest } from "./agent-protocol.ts";
import { AgentUnreachable } from "./ask-agent.ts";
import type { CniCall, CniCommand, CniPod } from "./cni-call.ts";
import { runPlugin } from "./plugin.ts";

const settings = {
  agentSocket: "/run/cni.sock",
  kubeconfig: "/etc/kubeconfig",
  excludedNamespaces: ["kube-system"],
  meshNamespace: "istio-system",
  agentPodPrefix: "hairpin-capture-",
};
const result = { cniVersion: "1.0.0", ips: [{ address: "10.244.1.7/24" }, { address: "fd00::7/64" }] };
const web: CniPod = { namespace: "shop", name: "web-0", uid: "u-1" };

function callOf(command: CniCommand, pod: CniPod | undefined = web, prevResult: unknown = result): CniCall {
  const config = { cniVersion: "1.0.0", prevResult, settings };
  return { command, containerId: "c1", netns: "/run/netns/cni-1", pod, config };
}

type Agent = AgentAnswer | "down";
type Api = CaptureDecision | "down";

function run(call: CniCall, agent: Agent, api: Api = "down") {
  const asked: (AgentRequest | "api")[] = [];
  const answer = runPlugin(call, {
    askAgent: async (_path, request) => {
      asked.push(request);
      if (agent === "down") throw new AgentUnreachable("The node agent cannot be asked at /run/cni.sock: ENOENT");
      return agent;
    },
    askApi: async () => {
      asked.push("api");
      if (api === "down") throw new Error("connect ECONNREFUSED 10.96.0.1:443");
      return api;
    },
  });
  return { answer, asked };
}

const captured: AgentAnswer = { outcome: "captured", reason: "" };
const wanted: CaptureDecision = { captured: true, reason: "label istio.io/dataplane-mode of namespace shop" };
const unwanted: CaptureDecision = { captured: false, reason: "no label" };

describe("ADD", () => {
  it("tells the agent of the pod and passes the result of the plugins before on", async () => {
    const { answer, asked } = run(callOf("ADD"), captured);
    expect(JSON.parse(await answer)).toEqual(result);
    expect(asked).toEqual([
      {
        command: "add",
        containerId: "c1",
        netns: "/run/netns/cni-1",
        ...web,
        ips: ["10.244.1.7", "fd00::7"],
      },
    ]);
  });

  it("fails with the agent's reason when the pod cannot be captured", async () => {
    const { answer } = run(callOf("ADD"), { outcome: "failed", reason: "no ztunnel is connected" });
    await expect(answer).rejects.toMatchObject({ code: 100, message: "no ztunnel is connected" });
  });

  it("starts a pod that need not be captured while no agent answers", async () => {
    const { answer, asked } = run(callOf("ADD"), "down", unwanted);
    expect(JSON.parse(await answer)).toEqual(result);
    expect(asked.at(-1)).toBe("api");
  });

  it("does not start a pod that is to be captured while no agent answers, and says why", async () => {
    const { answer } = run(callOf("ADD"), "down", wanted);
    await expect(answer).rejects.toMatchObject({
      code: 11,
      message: expect.stringMatching(/node agent cannot be asked.*shop\/web-0 is to be captured \(label istio\.io/),
    });
  });

  it("does not start a pod of which nobody can tell", async () => {
    const { answer } = run(callOf("ADD"), "down", "down");
    await expect(answer).rejects.toMatchObject({ code: 11, message: expect.stringContaining("ECONNREFUSED") });
  });

  it.each<[string, CniPod | undefined]>([
    ["pods of excluded namespaces", { namespace: "kube-system", name: "coredns", uid: undefined }],
    ["the agent's own pod", { namespace: "istio-system", name: "hairpin-capture-x7k2p", uid: undefined }],
    ["containers of something else", undefined],
  ])("asks nobody for %s", async (_name, pod) => {
    const { answer, asked } = run({ ...callOf("ADD"), pod }, "down", "down");
    expect(JSON.parse(await answer)).toEqual(result);
    expect(asked).toEqual([]);
  });

  it("asks for a pod that is only called like the agent, in another namespace", async () => {
    const { asked, answer } = run(callOf("ADD", { ...web, name: "hairpin-capture-1" }), captured);
    await answer;
    expect(asked).toHaveLength(1);
  });

  it("must come after another plugin", async () => {
    await expect(run(callOf("ADD", web, null), captured).answer).rejects.toMatchObject({ code: 7 });
  });
});

describe("DEL", () => {
  it("tells the agent, and succeeds whatever it says", async () => {
    const { answer, asked } = run(callOf("DEL", web, undefined), captured);
    expect(await answer).toBe("");
    expect(asked).toMatchObject([{ command: "del", containerId: "c1" }]);
    expect(await run(callOf("DEL"), "down").answer).toBe("");
    expect(await run(callOf("DEL"), { outcome: "failed", reason: "no" }).answer).toBe("");
  });
});

describe("CHECK", () => {
  it("fails when the agent finds a pod uncaptured, not when there is no agent", async () => {
    expect(await run(callOf("CHECK"), captured).answer).toBe("");
    expect(await run(callOf("CHECK"), "down").answer).toBe("");
    await expect(run(callOf("CHECK"), { outcome: "failed", reason: "not yet" }).answer).rejects.toMatchObject({
      code: 100,
    });
  });
});

describe("the other commands", () => {
  it("say that the network works, agent or not", async () => {
    expect(await run(callOf("STATUS"), "down").answer).toBe("");
    expect(await run(callOf("GC"), "down").answer).toBe("");
    expect(JSON.parse(await run(callOf("VERSION"), "down").answer)).toMatchObject({ cniVersion: "1.1.0" });
  });
});
