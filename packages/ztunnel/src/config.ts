import { availableParallelism } from "node:os";
import {
  type AgentConfig,
  describeEndpoint,
  type Environment,
  readControlPlaneEndpoint,
  readDrainDeadline,
  readNodeMetadata,
  readTlsEngine,
  readTokenSource,
} from "@hairpin/shared/agent";
import type { Identity } from "@hairpin/shared/model";
import { ConfigReader } from "@hairpin/shared/process";
import { LogLevels } from "@hairpin/shared/telemetry";
import type { TlsEnginePreference } from "@hairpin/wire";

/** Ports that every captured pod has; Istio's, and not configurable (tests aside). */
export const podPorts = { outbound: 15_001, inboundPlaintext: 15_006, inbound: 15_008 } as const;

/** Default ports of ztunnel's own netns. */
const adminPort = 15_000;
const metricsPort = 15_020;
const readinessPort = 15_021;
const dnsPort = 15_053;

const packetMark = 1337;
const defaultWorkerThreads = 1;
const maxWorkerThreads = 256;
const mebibyte = 1024 * 1024;
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

export interface KeepaliveConfig {
  readonly enabled: boolean;
  readonly timeMs: number;
  readonly intervalMs: number;
  readonly retries: number;
  readonly userTimeoutEnabled: boolean;
}

/** All settings of a ztunnel; nothing else is read from the environment. */
export interface ZtunnelConfig extends AgentConfig {
  readonly network: string;
  readonly trustDomain: string;
  /** What a hairpin leg proves. */
  readonly identity: Identity;
  /** ISTIO_META_ISTIO_VERSION; `unknown` when unset. */
  readonly istioVersion: string;
  readonly pool: { readonly maxStreamsPerConnection: number; readonly unusedReleaseMs: number };
  readonly http2: { readonly streamWindow: number; readonly connectionWindow: number; readonly frameSize: number };
  /** Of the data plane; 0: it runs in the main thread. */
  readonly workerThreads: number;
  readonly drainDeadlineMs: number;
  /** Each thread of the data plane chooses by it. */
  readonly tlsEngine: TlsEnginePreference;
  /** `required`: refuse to start a pod where spoofing is not permitted. */
  readonly originalSource: "required" | "never" | "best-effort";
  readonly packetMark: number;
  readonly keepalive: KeepaliveConfig;
  readonly inpodUds: string;
  readonly portReuse: boolean;
  readonly ipv6: boolean;
  readonly responseBaggage: boolean;
  readonly logPolicyAtInfo: boolean;
  /** Queries that are not the mesh's go to the name servers of `resolvConf`, a path. */
  readonly dns: { readonly enabled: boolean; readonly port: number; readonly resolvConf: string };
  readonly admin: { readonly host: string; readonly port: number };
  readonly metrics: { readonly host: string; readonly port: number };
  readonly readiness: { readonly host: string; readonly port: number };
  readonly log: { readonly level: string; readonly format: "plain" | "json" };
}

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
    xds: readControlPlaneEndpoint(reader, environment, "XDS"),
    ca: readControlPlaneEndpoint(reader, environment, "CA"),
    token: readTokenSource(reader),
    metadata: readNodeMetadata(reader, environment),
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
    workerThreads: readWorkerThreads(reader),
    drainDeadlineMs: readDrainDeadline(reader),
    tlsEngine: readTlsEngine(reader),
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
    dns: {
      enabled: reader.boolean("ISTIO_META_DNS_CAPTURE", true),
      port: dnsPort,
      resolvConf: reader.string("RESOLV_CONF", "/etc/resolv.conf"),
    },
    admin: { host: "127.0.0.1", port: adminPort },
    metrics: { host: anyHost, port: metricsPort },
    readiness: { host: anyHost, port: readinessPort },
    log: {
      level: readLogLevel(reader),
      format: reader.oneOf("LOG_FORMAT", ["plain", "json"], "plain"),
    },
  };
  if (config.workerThreads > 1 && !config.portReuse)
    reader.mistake(
      "INPOD_PORT_REUSE",
      "false",
      "is not accepted with several worker threads: they share the pods' ports",
    );
  reader.finish();
  return config;
}

/** The configuration as `/config_dump` shows it: no token, no inline certificate, no header that may carry a secret. */
export function describeConfig(config: ZtunnelConfig): Readonly<Record<string, unknown>> {
  return {
    ...config,
    xds: describeEndpoint(config.xds),
    ca: describeEndpoint(config.ca),
    token: config.token.kind === "file" ? config.token : { kind: "literal" },
  };
}

/** A number, or a part of the cores (`50%`), rounded up. */
function readWorkerThreads(reader: ConfigReader): number {
  const accepted = `a number from 0 to ${maxWorkerThreads}, or a part of the cores: 50%`;
  return reader.parsed("ZTUNNEL_WORKER_THREADS", accepted, parseWorkerThreads, defaultWorkerThreads);
}

function parseWorkerThreads(text: string): number {
  const [, number = "", percent] = /^(\d{1,3})(%?)$/.exec(text) ?? [];
  const threads =
    percent === "%" ? Math.max(1, Math.ceil((availableParallelism() * Number(number)) / 100)) : Number(number);
  if (number === "" || threads > maxWorkerThreads) throw new Error(`${JSON.stringify(text)} is too many or no number`);
  return threads;
}

/** LOG_LEVEL, else RUST_LOG, which Istio's charts set. */
function readLogLevel(reader: ConfigReader): string {
  const fallback = reader.string("RUST_LOG", "info");
  const accepted = "a level, or scope=level pairs: warn,xds=debug";
  return reader.parsed("LOG_LEVEL", accepted, checkedLogLevels, fallback);
}

/** Throws `Error` that names the bad part. */
function checkedLogLevels(text: string): string {
  new LogLevels().set(text);
  return text;
}

function readOriginalSource(reader: ConfigReader): ZtunnelConfig["originalSource"] {
  const choice = reader.oneOf("ENABLE_ORIG_SRC", ["true", "false", "auto"], "auto");
  if (choice === "auto") return "best-effort";
  return choice === "true" ? "required" : "never";
}
