// The CNI plugin: asks the agent of its node to capture a pod before its first program starts. Without an agent it asks the
// API server, and lets start what need not be captured.
import type { CaptureDecision } from "../capture-rule.ts";
import type { AgentAnswer, AgentRequest } from "./agent-protocol.ts";
import { AgentUnreachable, askAgent } from "./ask-agent.ts";
import { askApi } from "./ask-api.ts";
import { type CniCall, CniError, CniErrorCode, type CniPod, type PluginSettings, versionAnswer } from "./cni-call.ts";

/** ztunnel may take 5 s to answer, and other pods before this one too. The runtime's own limit is minutes. */
const agentTimeoutMs = 15_000;
/** A pod that ends does not wait long for an agent: what it would tell, the agent also hears from the API server. */
const goodbyeTimeoutMs = 2_000;
const apiTimeoutMs = 5_000;

/** Whom the plugin asks. */
export interface PluginComponents {
  askAgent(socketPath: string, request: AgentRequest, timeoutMs: number): Promise<AgentAnswer>;
  /** Rejects with the reason why nobody knows. */
  askApi(pod: CniPod, settings: PluginSettings): Promise<CaptureDecision>;
}

const pluginComponents: PluginComponents = {
  askAgent,
  askApi: async (pod, settings) => await askApi(settings.kubeconfig, pod, { ...settings, timeoutMs: apiTimeoutMs }),
};

/** What goes to standard output; empty for commands without an answer. Rejects with {@link CniError}. */
export async function runPlugin(call: CniCall, components: PluginComponents = pluginComponents): Promise<string> {
  switch (call.command) {
    case "VERSION":
      return versionAnswer();
    case "ADD":
      await add(call, components);
      // Chained: what the plugins before us made is the result.
      return JSON.stringify(call.config.prevResult);
    case "CHECK":
      await check(call, components);
      return "";
    case "DEL":
      await remove(call, components);
      return "";
    // The agent itself forgets pods that are gone.
    case "GC":
    // Without an agent pods still start, those that need not be captured: the network is not down.
    case "STATUS":
      return "";
    default:
      return call.command satisfies never;
  }
}

async function add(call: CniCall, components: PluginComponents): Promise<void> {
  const ips = addressesOf(call);
  const { pod } = call;
  if (pod === undefined || isLeftAlone(pod, call.config.settings)) return;
  const answer = await askSomebody(requestOf("add", call, pod, ips), pod, call.config.settings, components);
  if (answer.outcome === "failed") throw new CniError(CniErrorCode.captureFailed, answer.reason);
}

async function check(call: CniCall, components: PluginComponents): Promise<void> {
  const ips = addressesOf(call);
  const { pod } = call;
  if (pod === undefined || isLeftAlone(pod, call.config.settings)) return;
  const request = requestOf("check", call, pod, ips);
  try {
    const answer = await components.askAgent(call.config.settings.agentSocket, request, agentTimeoutMs);
    if (answer.outcome === "failed") throw new CniError(CniErrorCode.captureFailed, answer.reason);
  } catch (error) {
    // Rules do not need an agent to stay.
    if (!(error instanceof AgentUnreachable)) throw error;
  }
}

/** Never fails: the runtime would keep trying to remove a pod that has gone. */
async function remove(call: CniCall, components: PluginComponents): Promise<void> {
  const { pod } = call;
  if (pod === undefined || isLeftAlone(pod, call.config.settings)) return;
  const request = requestOf("del", call, pod, []);
  await components.askAgent(call.config.settings.agentSocket, request, goodbyeTimeoutMs).catch(() => {});
}

/** The agent's answer, or what the API server's labels say of a pod that no agent takes. */
async function askSomebody(
  request: AgentRequest,
  pod: CniPod,
  settings: PluginSettings,
  components: PluginComponents,
): Promise<AgentAnswer> {
  let missing: string;
  try {
    return await components.askAgent(settings.agentSocket, request, agentTimeoutMs);
  } catch (error) {
    if (!(error instanceof AgentUnreachable)) throw error;
    missing = error.message;
  }
  const fullName = `${pod.namespace}/${pod.name}`;
  let decision: CaptureDecision;
  try {
    decision = await components.askApi(pod, settings);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const unknown = `nor can the API server whether pod ${fullName} is to be captured (${reason})`;
    throw new CniError(
      CniErrorCode.tryAgainLater,
      `${missing}, ${unknown}; it may not start until one of them answers`,
    );
  }
  if (!decision.captured) return { outcome: "spared", reason: decision.reason };
  const refusal = `pod ${fullName} is to be captured (${decision.reason}) and may not start without it`;
  throw new CniError(CniErrorCode.tryAgainLater, `${missing}; ${refusal}`);
}

/** Pods that start whoever is there to ask: those of excluded namespaces, and the agent itself. */
function isLeftAlone(pod: CniPod, settings: PluginSettings): boolean {
  if (settings.excludedNamespaces.includes(pod.namespace)) return true;
  const { agentPodPrefix, meshNamespace } = settings;
  return agentPodPrefix !== "" && pod.namespace === meshNamespace && pod.name.startsWith(agentPodPrefix);
}

function requestOf(
  command: AgentRequest["command"],
  { containerId, netns }: CniCall,
  { namespace, name, uid }: CniPod,
  ips: readonly string[],
): AgentRequest {
  return { command, containerId, netns, namespace, name, uid, ips };
}

/** From `prevResult`: `{"ips": [{"address": "10.244.1.7/24"}]}` in every version with chaining. */
function addressesOf({ config: { prevResult } }: CniCall): string[] {
  if (typeof prevResult !== "object" || prevResult === null)
    throw new CniError(
      CniErrorCode.invalidConfig,
      "There is no prevResult: the plugin must be chained after another one",
    );
  const ips: unknown = "ips" in prevResult ? prevResult.ips : [];
  if (!Array.isArray(ips)) return [];
  return ips.flatMap((one: unknown) => {
    const address = typeof one === "object" && one !== null && "address" in one ? one.address : undefined;
    return typeof address === "string" ? [address.replace(/\/.*$/, "")] : [];
  });
}
