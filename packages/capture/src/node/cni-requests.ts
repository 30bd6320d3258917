// What the agent does when the CNI plugin asks.
import { netnsInode, openNetns } from "@hairpin/native";
import { errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { AgentAnswer, AgentRequest } from "../cni/agent-protocol.ts";
import type { HostProc } from "./host-proc.ts";
import type { NodeObjects } from "./node-objects.ts";
import type { NodePod } from "./node-pod.ts";
import type { PodCapture } from "./pod-capture.ts";
import { type PodNetwork, podNetworkOf } from "./pod-network.ts";

export interface CniRequestsComponents {
  readonly objects: Pick<NodeObjects, "fetch" | "decide" | "isWanted" | "list">;
  readonly capture: Pick<PodCapture, "add" | "remove" | "isCaptured">;
  readonly host: HostProc;
  readonly logger: Logger;
}

/** Which network belongs to a sandbox: a runtime may end one when its namespace has gone already. */
interface Sandbox {
  readonly uid: string;
  readonly networkId: string;
}

export class CniRequests {
  readonly #components: CniRequestsComponents;
  readonly #sandboxes = new Map<string, Sandbox>();

  constructor(components: CniRequestsComponents) {
    this.#components = components;
  }

  /** Never rejects: what fails is an answer. */
  async answer(request: AgentRequest): Promise<AgentAnswer> {
    const { command, namespace, name } = request;
    try {
      if (command === "add") return await this.#add(request);
      return command === "del" ? await this.#remove(request) : await this.#check(request);
    } catch (error) {
      const reason = errorMessage(error);
      this.#components.logger.warn("a call of the CNI plugin failed", { command, pod: `${namespace}/${name}`, reason });
      return { outcome: "failed", reason: `pod ${namespace}/${name} cannot be captured: ${reason}` };
    }
  }

  async #add(request: AgentRequest): Promise<AgentAnswer> {
    const { objects, capture } = this.#components;
    const pod = await objects.fetch(request);
    if (pod === undefined) throw new Error("the API server knows no such pod");
    const { reason } = objects.decide(pod);
    const network = this.#networkOf(pod, request);
    if (network === undefined) return { outcome: "spared", reason };
    try {
      const isCaptured = await capture.add(pod, network);
      this.#sandboxes.set(request.containerId, { uid: pod.uid, networkId: network.id });
      return { outcome: isCaptured ? "captured" : "spared", reason };
    } catch (error) {
      network.close();
      throw error;
    }
  }

  /** Undefined: it cannot be opened, which matters to those pods only that are to be captured. */
  #networkOf(pod: NodePod, request: AgentRequest): PodNetwork | undefined {
    const { objects, logger } = this.#components;
    try {
      return this.#openNetwork(request);
    } catch (error) {
      if (objects.isWanted(pod)) throw error;
      logger.warn("a pod's network cannot be opened", {
        pod: `${pod.namespace}/${pod.name}`,
        error: errorMessage(error),
      });
      return undefined;
    }
  }

  async #remove(request: AgentRequest): Promise<AgentAnswer> {
    const sandbox = this.#sandboxes.get(request.containerId) ?? this.#sandboxOf(request);
    this.#sandboxes.delete(request.containerId);
    // A sandbox that nobody knows: of a pod that has had a new one since, or of one that the API server tells of.
    if (sandbox !== undefined) await this.#components.capture.remove(sandbox.uid, sandbox.networkId);
    return { outcome: "spared", reason: "the pod is gone" };
  }

  async #check(request: AgentRequest): Promise<AgentAnswer> {
    const { objects, capture } = this.#components;
    const pod = await objects.fetch(request);
    if (pod === undefined) throw new Error("the API server knows no such pod");
    const { reason } = objects.decide(pod);
    const isCaptured = capture.isCaptured(pod.uid);
    if (objects.isWanted(pod) && !isCaptured) throw new Error(`it is to be captured (${reason}) and is not yet`);
    return { outcome: isCaptured ? "captured" : "spared", reason };
  }

  /** Of a pod that ran before this agent. */
  #sandboxOf(request: AgentRequest): Sandbox | undefined {
    const pod = this.#components.objects.list().find((one) => isPodOf(request, one));
    if (pod === undefined || request.netns === "") return undefined;
    try {
      const network = this.#openNetwork(request);
      network.close();
      return { uid: pod.uid, networkId: network.id };
    } catch {
      return undefined;
    }
  }

  /** The caller closes it. Throws when it is the node's own: rules there would cut the node off. */
  #openNetwork({ netns, ips }: AgentRequest): PodNetwork {
    const { host } = this.#components;
    const handle = openNetns(host.pathOf(netns));
    const own = openNetns(host.netnsPath);
    const isHost = netnsInode(own) === netnsInode(handle);
    own.close();
    if (!isHost) return podNetworkOf(handle, ips);
    handle.close();
    throw new Error(`${netns} is the network namespace of the node`);
  }
}

function isPodOf(
  request: AgentRequest,
  pod: { readonly namespace: string; readonly name: string; readonly uid: string },
) {
  if (request.uid !== undefined) return request.uid === pod.uid;
  return request.namespace === pod.namespace && request.name === pod.name;
}
