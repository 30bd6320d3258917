// The Container Network Interface's calling convention (CNI spec 1.1): environment and standard input in, one JSON object out.

/** Versions of the spec whose chained results we pass on; results are never changed, so every one with chaining will do. */
const supportedCniVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
const newestCniVersion = "1.1.0";

/** Codes of the spec, and ours from 100 on. */
export const CniErrorCode = {
  incompatibleVersion: 1,
  invalidEnvironment: 4,
  decodingFailed: 6,
  invalidConfig: 7,
  /** The pod may not start yet; the runtime tries again. */
  tryAgainLater: 11,
  /** The pod is to be captured and cannot be. */
  captureFailed: 100,
  unexpected: 999,
} as const;
export type CniErrorCode = (typeof CniErrorCode)[keyof typeof CniErrorCode];

/** Becomes the answer; a kubelet shows `message` in the pod's events. */
export class CniError extends Error {
  readonly code: CniErrorCode;

  constructor(code: CniErrorCode, message: string) {
    super(message);
    this.name = "CniError";
    this.code = code;
  }
}

export const cniCommands = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] as const;
export type CniCommand = (typeof cniCommands)[number];

/** Our entry in the network configuration, as the runtime passes it, with what the plugins before us have made. */
export interface CniConfig {
  readonly cniVersion: string;
  readonly prevResult: unknown;
  readonly settings: PluginSettings;
}

/** What the installer writes into our entry. */
export interface PluginSettings {
  readonly agentSocket: string;
  readonly kubeconfig: string;
  readonly excludedNamespaces: readonly string[];
  readonly meshNamespace: string;
  /** Pods of the mesh's namespace whose names begin so are the agent's own: they start without being asked for. */
  readonly agentPodPrefix: string;
}

/** The pod of a call, from CNI_ARGS. */
export interface CniPod {
  readonly namespace: string;
  readonly name: string;
  /** Not every runtime tells it. */
  readonly uid: string | undefined;
}

export interface CniCall {
  readonly command: CniCommand;
  readonly containerId: string;
  /** Empty in a DEL for a namespace that has gone. */
  readonly netns: string;
  /** Undefined: a container of something else than Kubernetes. */
  readonly pod: CniPod | undefined;
  readonly config: CniConfig;
}

/** Throws {@link CniError}. `input` is what came on standard input. */
export function readCniCall(environment: Readonly<Record<string, string | undefined>>, input: string): CniCall {
  const command = cniCommands.find((one) => one === environment["CNI_COMMAND"]);
  if (command === undefined)
    throw new CniError(
      CniErrorCode.invalidEnvironment,
      `CNI_COMMAND is ${JSON.stringify(environment["CNI_COMMAND"] ?? "")}, not one of ${cniCommands.join(", ")}`,
    );
  return {
    command,
    containerId: environment["CNI_CONTAINERID"] ?? "",
    netns: environment["CNI_NETNS"] ?? "",
    pod: readPod(environment["CNI_ARGS"] ?? ""),
    config: readConfig(command, input),
  };
}

/** The answer to VERSION. */
export function versionAnswer(): string {
  return JSON.stringify({ cniVersion: newestCniVersion, supportedVersions: supportedCniVersions });
}

/** The answer of a call that failed. */
export function errorAnswer(error: unknown, cniVersion: string = newestCniVersion): string {
  const code = error instanceof CniError ? error.code : CniErrorCode.unexpected;
  const msg = `hairpin: ${error instanceof Error ? error.message : String(error)}`;
  return JSON.stringify({ cniVersion, code, msg });
}

/** `K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;…` */
function readPod(cniArgs: string): CniPod | undefined {
  const values = new Map(
    cniArgs.split(";").map((pair): [string, string] => {
      const [key = "", ...rest] = pair.split("=");
      return [key, rest.join("=")];
    }),
  );
  const namespace = values.get("K8S_POD_NAMESPACE") ?? "";
  const name = values.get("K8S_POD_NAME") ?? "";
  if (namespace === "" || name === "") return undefined;
  return { namespace, name, uid: values.get("K8S_POD_UID") || undefined };
}

function readConfig(command: CniCommand, input: string): CniConfig {
  const config = parseObject(input);
  const cniVersion = typeof config["cniVersion"] === "string" ? config["cniVersion"] : "";
  if (command !== "VERSION" && !supportedCniVersions.some((one) => one === cniVersion))
    throw new CniError(
      CniErrorCode.incompatibleVersion,
      `cniVersion ${JSON.stringify(cniVersion)} is not one of ${supportedCniVersions.join(", ")}`,
    );
  const text = (key: string): string => (typeof config[key] === "string" ? config[key] : "");
  const excluded = config["excludedNamespaces"];
  return {
    cniVersion,
    prevResult: config["prevResult"],
    settings: {
      agentSocket: text("agentSocket"),
      kubeconfig: text("kubeconfig"),
      excludedNamespaces: Array.isArray(excluded) ? excluded.filter((one) => typeof one === "string") : [],
      meshNamespace: text("meshNamespace"),
      agentPodPrefix: text("agentPodPrefix"),
    },
  };
}

function parseObject(input: string): Readonly<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(input);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CniError(CniErrorCode.decodingFailed, `The network configuration is not JSON: ${reason}`);
  }
  if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed))
    return parsed as Readonly<Record<string, unknown>>;
  throw new CniError(CniErrorCode.decodingFailed, "The network configuration is not a JSON object");
}
