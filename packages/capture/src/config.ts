import { serviceAccountFolder } from "@hairpin/shared/kubernetes";
import { ConfigReader } from "@hairpin/shared/process";
import { LogLevels } from "@hairpin/shared/telemetry";
import { join } from "node:path";
import { isIPv4, isIPv6 } from "node:net";
import { type CaptureRuleOptions, defaultExcludedNamespaces } from "./capture-rule.ts";
import { defaultProbeAddresses, type ProbeAddresses } from "./rules.ts";

const readinessPort = 8000;
const metricsPort = 15_014;

/** Where the node's CNI plugins and their configuration are. */
export interface CniConfig {
  /** False: the node's CNI is left alone, and pods are captured after they have started. */
  readonly enabled: boolean;
  /** Folders of the host, as the host names them. */
  readonly binFolder: string;
  readonly confFolder: string;
  /** The bundle that cni/main.ts becomes. */
  readonly pluginPath: string;
  /** Names of the agent's own pods begin so. */
  readonly agentPodPrefix: string;
}

/** All settings of a capture agent; nothing else is read from the environment. */
export interface CaptureConfig {
  readonly nodeName: string;
  readonly rule: CaptureRuleOptions;
  /** Undefined: nobody finds out whether the agent is uninstalled, and it stays installed. */
  readonly daemonSet: { readonly namespace: string; readonly name: string } | undefined;
  /** `folder`: where the kubelet keeps the agent's token. */
  readonly api: { readonly host: string; readonly port: number; readonly folder: string };
  readonly dnsCapture: boolean;
  readonly ipv6: boolean;
  readonly rules: "auto" | "nft" | "iptables";
  readonly probeAddresses: ProbeAddresses;
  readonly zdsSocket: string;
  /** Of the agent's own files on the node: `cni.sock`. The same path inside and outside of the container. */
  readonly runFolder: string;
  /** What precedes a path of the host to make it one of this container: `/host`. Empty on the host itself. */
  readonly hostMount: string;
  readonly cni: CniConfig;
  readonly listenIp: string;
  readonly ports: { readonly readiness: number; readonly metrics: number };
  readonly log: { readonly level: string; readonly format: "plain" | "json" };
  /** Every setting in effect. */
  readonly described: Readonly<Record<string, unknown>>;
}

/** Throws `ConfigError` with every mistake. */
export function readConfig(environment: Readonly<Record<string, string | undefined>>): CaptureConfig {
  const reader = new ConfigReader({ environment });
  const namespace = reader.string("POD_NAMESPACE", "istio-system");
  const daemonSetName = reader.string("DAEMON_SET_NAME", "");
  const config = {
    nodeName: reader.string("NODE_NAME"),
    rule: {
      excludedNamespaces: reader.list("EXCLUDE_NAMESPACES", defaultExcludedNamespaces),
      meshNamespace: namespace,
    },
    daemonSet: daemonSetName === "" ? undefined : { namespace, name: daemonSetName },
    api: {
      host: reader.string("KUBERNETES_SERVICE_HOST"),
      port: reader.port("KUBERNETES_SERVICE_PORT", 443),
      folder: serviceAccountFolder,
    },
    dnsCapture: reader.boolean("AMBIENT_DNS_CAPTURE", true),
    ipv6: reader.boolean("AMBIENT_IPV6", true),
    rules: reader.oneOf("RULES_BACKEND", ["auto", "nft", "iptables"], "auto"),
    probeAddresses: {
      ipv4: reader.parsed(
        "HOST_PROBE_SNAT_IP",
        "an IPv4 address",
        (text) => (isIPv4(text) ? text : undefined),
        defaultProbeAddresses.ipv4,
      ),
      ipv6: reader.parsed(
        "HOST_PROBE_SNAT_IPV6",
        "an IPv6 address",
        (text) => (isIPv6(text) ? text : undefined),
        defaultProbeAddresses.ipv6,
      ),
    },
    zdsSocket: reader.parsed("ZTUNNEL_UDS_ADDRESS", absolutePath, asAbsolutePath, "/var/run/ztunnel/ztunnel.sock"),
    runFolder: reader.parsed("CAPTURE_RUN_DIR", absolutePath, asAbsolutePath, "/var/run/hairpin-capture"),
    hostMount: reader.string("HOST_MOUNT", ""),
    cni: {
      enabled: reader.boolean("CNI_ENABLED", true),
      binFolder: reader.parsed("CNI_BIN_DIR", absolutePath, asAbsolutePath, "/opt/cni/bin"),
      confFolder: reader.parsed("CNI_CONF_DIR", absolutePath, asAbsolutePath, "/etc/cni/net.d"),
      pluginPath: reader.parsed(
        "CNI_PLUGIN_PATH",
        absolutePath,
        asAbsolutePath,
        join(import.meta.dirname, "cni-plugin.cjs"),
      ),
      agentPodPrefix: daemonSetName === "" ? "" : `${daemonSetName}-`,
    },
    listenIp: reader.string("LISTEN_IP", "::"),
    ports: { readiness: readinessPort, metrics: metricsPort },
    log: {
      level: reader.parsed("LOG_LEVEL", "a level, or scope=level pairs: warn,zds=debug", checkedLogLevels, "info"),
      format: reader.oneOf("LOG_FORMAT", ["plain", "json"], "plain"),
    },
  };
  reader.finish();
  return { ...config, described: reader.describe() };
}

const absolutePath = "an absolute path";

function asAbsolutePath(text: string): string | undefined {
  return text.startsWith("/") ? text : undefined;
}

/** Throws `Error` that names the bad part. */
function checkedLogLevels(text: string): string {
  new LogLevels().set(text);
  return text;
}
