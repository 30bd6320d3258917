// What the CNI plugin and the agent of its node say to each other: one line of JSON each, over a unix socket that only root
// reaches. Both come from the same build; the plugin on disk may still be that of the agent before.

/** A sandbox whose network was made (`add`), is looked at (`check`), or goes (`del`). */
export interface AgentRequest {
  readonly command: "add" | "del" | "check";
  readonly containerId: string;
  /** A path of the host. Empty: gone. */
  readonly netns: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string | undefined;
  /** Addresses that the plugins before us gave the pod. */
  readonly ips: readonly string[];
}

/** `failed`: the pod is to be captured (or nobody knows), and must not start. */
export type AgentAnswer =
  | { readonly outcome: "captured" | "spared"; readonly reason: string }
  | { readonly outcome: "failed"; readonly reason: string };

/** Longer lines are not read. */
export const maxLineBytes: number = 64 * 1024;

/** Undefined: not a request. */
export function parseAgentRequest(line: string): AgentRequest | undefined {
  const value = parseRecord(line);
  const command = (["add", "del", "check"] as const).find((one) => one === value?.["command"]);
  if (value === undefined || command === undefined) return undefined;
  const { containerId, netns, namespace, name, uid, ips } = value;
  if (!isText(containerId) || !isText(netns) || !isText(namespace) || !isText(name)) return undefined;
  if (uid !== undefined && !isText(uid)) return undefined;
  if (!Array.isArray(ips) || !ips.every(isText)) return undefined;
  return { command, containerId, netns, namespace, name, uid, ips };
}

/** Undefined: not an answer. */
export function parseAgentAnswer(line: string): AgentAnswer | undefined {
  const value = parseRecord(line);
  const outcome = (["captured", "spared", "failed"] as const).find((one) => one === value?.["outcome"]);
  const reason = value?.["reason"];
  return outcome === undefined || !isText(reason) ? undefined : { outcome, reason };
}

function parseRecord(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}
