import type { Identity } from "@hairpin/shared/model";
import { ConfigReader } from "@hairpin/shared/process";

/** Ports that every captured pod has; Istio's, and not configurable (tests aside). */
export const podPorts = { outbound: 15_001, inboundPlaintext: 15_006, inbound: 15_008 } as const;

/** Default ports of ztunnel's own netns. */
const adminPort = 15_000;
const metricsPort = 15_020;
const readinessPort = 15_021;
const dnsPort = 15_053;

const packetMark = 1337;
const mebibyte = 1024 * 1024;
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const defaultControlPlane = "https://istiod.istio-system.svc:15012";
const defaultRootPath = "./var/run/secrets/istio/root-cert.pem";
const defaultTokenPath = "./var/run/secrets/tokens/istio-token";

/** Where root certificates come from. */
export type RootSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "system" }
  | { readonly kind: "inline"; readonly pem: string };

/** Where the bearer token comes from. */
export type TokenSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "literal"; readonly token: string };

/** A server of the control plane. */
export interface ControlPlaneEndpoint {
  /** With scheme. */
  readonly address: string;
  readonly root: RootSource;
  /** A further name that its certificate may carry. */
  readonly alternativeHostname: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

export interface KeepaliveConfig {
  readonly enabled: boolean;
  readonly timeMs: number;
  readonly intervalMs: number;
  readonly retries: number;
  readonly userTimeoutEnabled: boolean;
}

/** All settings of a ztunnel; nothing else is read from the environment. */
export interface ZtunnelConfig {
  readonly nodeName: string;
  readonly network: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly trustDomain: string;
  readonly pod: { readonly name: string; readonly namespace: string; readonly serviceAccount: string };
  readonly instanceIp: string;
  /** What a hairpin leg proves. */
  readonly identity: Identity;
  readonly xds: ControlPlaneEndpoint;
  readonly ca: ControlPlaneEndpoint;
  readonly token: TokenSource;
  /** Node metadata sent to the control plane, from ISTIO_META_* and ISTIO_METAJSON_*. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** ISTIO_META_ISTIO_VERSION; `unknown` when unset. */
  readonly istioVersion: string;
  readonly secretTtlMs: number;
  readonly pool: { readonly maxStreamsPerConnection: number; readonly unusedReleaseMs: number };
  readonly http2: { readonly streamWindow: number; readonly connectionWindow: number; readonly frameSize: number };
  readonly drainDeadlineMs: number;
  /** `required`: refuse to start a pod where spoofing is not permitted. */
  readonly originalSource: "required" | "never" | "best-effort";
  readonly packetMark: number;
  readonly keepalive: KeepaliveConfig;
  readonly inpodUds: string;
  readonly portReuse: boolean;
  readonly ipv6: boolean;
  readonly responseBaggage: boolean;
  readonly logPolicyAtInfo: boolean;
  readonly dns: { readonly enabled: boolean; readonly port: number };
  readonly admin: { readonly host: string; readonly port: number };
  readonly metrics: { readonly host: string; readonly port: number };
  readonly readiness: { readonly host: string; readonly port: number };
  readonly log: { readonly level: string; readonly format: "plain" | "json" };
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads Istio's variables (ztunnel.md §1.2). Unknown ones are ignored. Throws `ConfigError` with every mistake; main
 * exits 64 then.
 */
export function readConfig(environment: Environment): ZtunnelConfig {
  const reader = new ConfigReader({ environment });
  if (reader.oneOf("PROXY_MODE", ["shared", "dedicated"], "shared") === "dedicated")
    reader.mistake("PROXY_MODE", "dedicated", "is not supported: leave it unset (shared)");
  const trustDomain = reader.string("TRUST_DOMAIN", "cluster.local");
  const pod = {
    name: reader.string("POD_NAME", ""),
    namespace: reader.string("POD_NAMESPACE", "istio-system"),
    serviceAccount: reader.string("SERVICE_ACCOUNT", "ztunnel"),
  };
  const ipv6 = reader.boolean("IPV6_ENABLED", true);
  const anyHost = ipv6 ? "::" : "0.0.0.0";
  const clusterId = reader.string("ISTIO_META_CLUSTER_ID", reader.string("CLUSTER_ID", "Kubernetes"));
  const config: ZtunnelConfig = {
    nodeName: reader.string("NODE_NAME", ""),
    network: reader.string("NETWORK", ""),
    clusterId,
    clusterDomain: reader.string("CLUSTER_DOMAIN", "cluster.local"),
    trustDomain,
    pod,
    instanceIp: reader.string("INSTANCE_IP", ""),
    identity: { trustDomain, namespace: pod.namespace, serviceAccount: pod.serviceAccount },
    xds: readEndpoint(reader, environment, "XDS"),
    ca: readEndpoint(reader, environment, "CA"),
    token: readToken(reader),
    metadata: readMetadata(reader, environment),
    istioVersion: reader.string("ISTIO_META_ISTIO_VERSION", "unknown"),
    secretTtlMs: reader.durationMs("SECRET_TTL", 24 * hourMs, { min: 1000 }),
    pool: {
      maxStreamsPerConnection: reader.integer("POOL_MAX_STREAMS_PER_CONNECTION", 100, { min: 1, max: 10_000 }),
      unusedReleaseMs: reader.durationMs("POOL_UNUSED_RELEASE_TIMEOUT", 5 * minuteMs),
    },
    http2: {
      streamWindow: reader.integer("HTTP2_STREAM_WINDOW_SIZE", 4 * mebibyte, { min: 65_535, max: 2 ** 31 - 1 }),
      connectionWindow: reader.integer("HTTP2_CONNECTION_WINDOW_SIZE", 16 * mebibyte, {
        min: 65_535,
        max: 2 ** 31 - 1,
      }),
      frameSize: reader.integer("HTTP2_FRAME_SIZE", mebibyte, { min: 16_384, max: 2 ** 24 - 1 }),
    },
    drainDeadlineMs: readDrainDeadline(reader),
    originalSource: readOriginalSource(reader),
    packetMark: reader.integer("PACKET_MARK", packetMark, { min: 1, max: 2 ** 32 - 1 }),
    keepalive: {
      enabled: reader.boolean("KEEPALIVE_ENABLED", true),
      timeMs: reader.durationMs("KEEPALIVE_TIME", 3 * minuteMs, { min: 1000 }),
      intervalMs: reader.durationMs("KEEPALIVE_INTERVAL", 3 * minuteMs, { min: 1000 }),
      retries: reader.integer("KEEPALIVE_RETRIES", 9, { min: 1, max: 127 }),
      userTimeoutEnabled: reader.boolean("USER_TIMEOUT_ENABLED", false),
    },
    inpodUds: reader.string("INPOD_UDS", "/var/run/ztunnel/ztunnel.sock"),
    portReuse: reader.boolean("INPOD_PORT_REUSE", true),
    ipv6,
    responseBaggage: reader.boolean("ENABLE_RESPONSE_BAGGAGE", true),
    logPolicyAtInfo: reader.boolean("AUTHZ_POLICY_INFO_LOGGING", false),
    dns: { enabled: reader.boolean("ISTIO_META_DNS_CAPTURE", true), port: dnsPort },
    admin: { host: "127.0.0.1", port: adminPort },
    metrics: { host: anyHost, port: metricsPort },
    readiness: { host: anyHost, port: readinessPort },
    log: {
      level: reader.string("LOG_LEVEL", reader.string("RUST_LOG", "info")),
      format: reader.oneOf("LOG_FORMAT", ["plain", "json"], "plain"),
    },
  };
  reader.finish();
  return config;
}

/** The configuration as `/config_dump` shows it: no token, no inline certificate, no header that may carry a secret. */
export function describeConfig(config: ZtunnelConfig): Readonly<Record<string, unknown>> {
  const endpoint = ({ address, root, alternativeHostname, headers }: ControlPlaneEndpoint): object => ({
    address,
    root: root.kind === "inline" ? { kind: "inline" } : root,
    alternativeHostname: alternativeHostname ?? null,
    headers: Object.keys(headers),
  });
  return {
    ...config,
    xds: endpoint(config.xds),
    ca: endpoint(config.ca),
    token: config.token.kind === "file" ? config.token : { kind: "literal" },
  };
}

function readEndpoint(reader: ConfigReader, environment: Environment, prefix: "XDS" | "CA"): ControlPlaneEndpoint {
  const text = reader.string(`${prefix}_ADDRESS`, defaultControlPlane);
  const address = text.includes("://") ? text : `https://${text}`;
  if (!/^https?:\/\/[^/]+$/.test(address))
    reader.mistake(`${prefix}_ADDRESS`, text, "is not accepted: give https://host:port");
  return {
    address,
    root: rootSource(reader.string(`${prefix}_ROOT_CA`, defaultRootPath)),
    alternativeHostname: reader.optionalString(`ALT_${prefix}_HOSTNAME`),
    headers: withPrefix(environment, `${prefix}_HEADER_`, (name) => name.toLowerCase()),
  };
}

function rootSource(text: string): RootSource {
  if (text === "SYSTEM") return { kind: "system" };
  return text.includes("-----BEGIN") ? { kind: "inline", pem: text } : { kind: "file", path: text };
}

/** A value with a slash is a path; anything else is the token itself, as ztunnel has it. */
function readToken(reader: ConfigReader): TokenSource {
  const text = reader.string("AUTH_TOKEN", defaultTokenPath, { secret: true });
  return text.includes("/") ? { kind: "file", path: text } : { kind: "literal", token: text };
}

/** ISTIO_META_* are strings, ISTIO_METAJSON_* are JSON. */
function readMetadata(reader: ConfigReader, environment: Environment): Readonly<Record<string, unknown>> {
  const metadata: Record<string, unknown> = withPrefix(environment, "ISTIO_META_", (name) => name);
  for (const [name, text] of Object.entries(withPrefix(environment, "ISTIO_METAJSON_", (name) => name))) {
    try {
      metadata[name] = JSON.parse(text);
    } catch (error) {
      const problem = `is not JSON (${error instanceof Error ? error.message : String(error)})`;
      reader.mistake(`ISTIO_METAJSON_${name}`, text, problem);
    }
  }
  return metadata;
}

function withPrefix(
  environment: Environment,
  prefix: string,
  rename: (name: string) => string,
): Record<string, string> {
  const found: Record<string, string> = Object.create(null);
  for (const [name, value] of Object.entries(environment)) {
    if (name.startsWith(prefix) && value !== undefined) found[rename(name.slice(prefix.length))] = value;
  }
  return found;
}

/** CONNECTION_TERMINATION_DEADLINE, else a little less than the grace period, so that we end before we are killed. */
function readDrainDeadline(reader: ConfigReader): number {
  const graceSeconds = reader.integer("TERMINATION_GRACE_PERIOD_SECONDS", 0);
  const fromGrace = Math.max(1, graceSeconds > 10 ? graceSeconds - 5 : graceSeconds - 1);
  return reader.durationMs("CONNECTION_TERMINATION_DEADLINE", graceSeconds === 0 ? 5000 : fromGrace * 1000);
}

function readOriginalSource(reader: ConfigReader): ZtunnelConfig["originalSource"] {
  const choice = reader.oneOf("ENABLE_ORIG_SRC", ["true", "false", "auto"], "auto");
  if (choice === "auto") return "best-effort";
  return choice === "true" ? "required" : "never";
}
