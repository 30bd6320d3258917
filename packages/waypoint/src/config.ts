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
import type { TlsEnginePreference } from "@hairpin/wire";

/** Ports of a waypoint; Istio's, and not configurable (tests aside). */
const hbonePort = 15_008;
const adminPort = 15_000;
const metricsPort = 15_020;
const readinessPort = 15_021;
const dayMs = 24 * 60 * 60_000;

interface Place {
  readonly host: string;
  readonly port: number;
}

/** All settings of a waypoint; nothing else is read from the environment. */
export interface WaypointSettings extends AgentConfig {
  /** Name of the Gateway; its namespace is the pod's. */
  readonly gatewayName: string;
  readonly network: string;
  readonly trustDomain: string;
  readonly identity: Identity;
  readonly drainDeadlineMs: number;
  readonly tlsEngine: TlsEnginePreference;
  readonly hbone: Place;
  readonly admin: Place;
  readonly metrics: Place;
  readonly readiness: Place;
  readonly log: { readonly level: string; readonly format: "plain" | "json" };
}

/** Reads Istio's variables and WAYPOINT_NAME. Throws `ConfigError` with every mistake; main exits 64 then. */
export function readConfig(environment: Environment): WaypointSettings {
  const reader = new ConfigReader({ environment });
  const trustDomain = reader.string("TRUST_DOMAIN", "cluster.local");
  const pod = {
    name: reader.string("POD_NAME"),
    namespace: reader.string("POD_NAMESPACE"),
    serviceAccount: reader.string("SERVICE_ACCOUNT"),
  };
  const anyHost = reader.boolean("IPV6_ENABLED", true) ? "::" : "0.0.0.0";
  const settings: WaypointSettings = {
    gatewayName: reader.string("WAYPOINT_NAME"),
    pod,
    identity: { trustDomain, namespace: pod.namespace, serviceAccount: pod.serviceAccount },
    trustDomain,
    instanceIp: reader.string("INSTANCE_IP", ""),
    nodeName: reader.string("NODE_NAME", ""),
    network: reader.string("NETWORK", ""),
    clusterId: reader.string("ISTIO_META_CLUSTER_ID", reader.string("CLUSTER_ID", "Kubernetes")),
    clusterDomain: reader.string("CLUSTER_DOMAIN", "cluster.local"),
    metadata: readNodeMetadata(reader, environment),
    xds: readControlPlaneEndpoint(reader, environment, "XDS"),
    ca: readControlPlaneEndpoint(reader, environment, "CA"),
    token: readTokenSource(reader),
    secretTtlMs: reader.durationMs("SECRET_TTL", dayMs, { min: 1000 }),
    drainDeadlineMs: readDrainDeadline(reader),
    tlsEngine: readTlsEngine(reader),
    hbone: { host: anyHost, port: hbonePort },
    admin: { host: "127.0.0.1", port: adminPort },
    metrics: { host: anyHost, port: metricsPort },
    readiness: { host: anyHost, port: readinessPort },
    log: {
      level: reader.string("LOG_LEVEL", reader.string("RUST_LOG", "info")),
      format: reader.oneOf("LOG_FORMAT", ["plain", "json"], "plain"),
    },
  };
  reader.finish();
  return settings;
}

/** The settings as `/config_dump` shows them, without secrets. */
export function describeConfig(settings: WaypointSettings): Readonly<Record<string, unknown>> {
  const token = settings.token.kind === "file" ? settings.token : { kind: "literal" };
  return { ...settings, xds: describeEndpoint(settings.xds), ca: describeEndpoint(settings.ca), token };
}
