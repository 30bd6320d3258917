import { hostname } from "node:os";
import { ConfigReader } from "@hairpin/shared/process";
import type { MeshConfig, NamespacedAccount } from "./ambient/mesh-config.ts";

const secureXdsPort = 15_012;
const plaintextXdsPort = 15_010;
const metricsPort = 15_014;
const readinessPort = 8080;
const admissionPort = 15_017;
const dayMs = 24 * 3600 * 1000;
const maxSecretTtlMs = 90 * dayMs;
/** A changed ConfigMap reaches every pod within two minutes, and proxies renew their certificates when it does. */
const rootIntroductionMs = 5 * 60_000;

export type SourceConfig =
  | { readonly kind: "store"; readonly socketPath: string }
  | { readonly kind: "manifests"; readonly folder: string }
  | { readonly kind: "kubernetes"; readonly server: ApiServerConfig };

export type ApiServerConfig =
  | { readonly kind: "kubeconfig"; readonly path: string }
  /** As every pod reaches it. */
  | { readonly kind: "in-cluster"; readonly host: string; readonly port: number };

/** What a cluster has and a local mesh needs files for. */
export interface LocalAuthorityConfig {
  readonly caDir: string;
  /** PEM (SPKI) of the key that verifies local tokens. */
  readonly tokenKeyPem: string;
}

/** What a waypoint's Deployment is made of, besides what the chart's overlay and a Gateway's own say. */
export interface WaypointConfig {
  readonly image: string;
  /** "": the API server's default. */
  readonly imagePullPolicy: string;
  readonly imagePullSecrets: readonly string[];
}

/** All settings of control; nothing else is read from the environment. */
export interface ControlConfig {
  readonly mesh: MeshConfig;
  readonly source: SourceConfig;
  /** Undefined on Kubernetes: the CA is in Secrets, tokens are asked about. */
  readonly localAuthority: LocalAuthorityConfig | undefined;
  /** Of this replica, among the others that may write. */
  readonly replicaName: string;
  /** Certificates live no longer than this, whatever is asked. */
  readonly maxCertificateTtlMs: number;
  /** How long a new root is trusted before its issuer signs: until every proxy has heard of it. */
  readonly rootIntroductionMs: number;
  readonly listenIp: string;
  readonly ports: {
    readonly secureXds: number;
    /** Loopback only; undefined: not served. */
    readonly plaintextXds: number | undefined;
    readonly metrics: number;
    readonly readiness: number;
    /** The validating webhook; undefined where there is no API server that asks. */
    readonly admission: number | undefined;
  };
  /** How waypoints are deployed; undefined where somebody else does it. */
  readonly waypoint: WaypointConfig | undefined;
  readonly log: { readonly level: string; readonly format: "plain" | "json" };
  /** Every setting in effect, without secrets. */
  readonly described: Readonly<Record<string, unknown>>;
}

/** Throws `ConfigError` with every mistake. */
export function readConfig(
  environment: Readonly<Record<string, string | undefined>>,
  readFile?: (path: string) => string,
): ControlConfig {
  const reader = new ConfigReader({ environment, ...(readFile === undefined ? {} : { readFile }) });
  const trustedNodeAccounts = reader
    .list("CA_TRUSTED_NODE_ACCOUNTS", ["istio-system/ztunnel"])
    .flatMap((text) => parseAccount(text, reader));
  const source = parseSource(reader.string("HAIRPIN_SOURCE"), reader);
  const isInCluster = source.kind === "kubernetes";
  const config = {
    mesh: {
      clusterId: reader.string("CLUSTER_ID", "Kubernetes"),
      clusterDomain: reader.string("CLUSTER_DOMAIN", "cluster.local"),
      trustDomain: reader.string("TRUST_DOMAIN", "cluster.local"),
      rootNamespace: reader.string("ROOT_NAMESPACE", "istio-system"),
      network: reader.string("NETWORK", ""),
      trustedNodeAccounts,
    },
    source,
    localAuthority: isInCluster
      ? undefined
      : { caDir: reader.string("CA_DIR"), tokenKeyPem: requiredFile("TOKEN_KEY", reader) },
    replicaName: reader.string("POD_NAME", hostname()),
    rootIntroductionMs: reader.durationMs("CA_ROOT_INTRODUCTION", rootIntroductionMs, { min: 0, max: maxSecretTtlMs }),
    maxCertificateTtlMs: reader.durationMs("SECRET_TTL", dayMs, { min: 1000, max: maxSecretTtlMs }),
    listenIp: reader.string("LISTEN_IP", "0.0.0.0"),
    ports: {
      secureXds: secureXdsPort,
      plaintextXds: reader.boolean("PLAINTEXT_XDS", false) ? plaintextXdsPort : undefined,
      metrics: metricsPort,
      readiness: readinessPort,
      admission: isInCluster && reader.boolean("ADMISSION_WEBHOOK", true) ? admissionPort : undefined,
    },
    waypoint: isInCluster ? readWaypoint(reader) : undefined,
    log: {
      level: reader.string("LOG_LEVEL", "info"),
      format: reader.oneOf("LOG_FORMAT", ["plain", "json"], "plain"),
    },
  };
  reader.finish();
  return { ...config, described: reader.describe() };
}

function parseSource(text: string, reader: ConfigReader): SourceConfig {
  const [kind, ...rest] = text.split(":");
  const path = rest.join(":");
  if (kind === "store" && path !== "") return { kind: "store", socketPath: path };
  if (kind === "manifests" && path !== "") return { kind: "manifests", folder: path };
  if (kind === "kubernetes") return { kind: "kubernetes", server: parseServer(path, reader) };
  if (text !== "")
    reader.mistake(
      "HAIRPIN_SOURCE",
      text,
      "is not accepted: give kubernetes, kubernetes:<kubeconfig>, store:<socket> or manifests:<folder>",
    );
  return { kind: "store", socketPath: "" };
}

function parseServer(kubeconfigPath: string, reader: ConfigReader): ApiServerConfig {
  if (kubeconfigPath !== "") return { kind: "kubeconfig", path: kubeconfigPath };
  const host = reader.optionalString("KUBERNETES_SERVICE_HOST");
  if (host === undefined)
    reader.mistake("HAIRPIN_SOURCE", "kubernetes", "needs a kubeconfig outside of a cluster: kubernetes:<kubeconfig>");
  return { kind: "in-cluster", host: host ?? "", port: reader.port("KUBERNETES_SERVICE_PORT", 443) };
}

function readWaypoint(reader: ConfigReader): WaypointConfig {
  return {
    image: reader.string("WAYPOINT_IMAGE"),
    imagePullPolicy: reader.oneOf("WAYPOINT_IMAGE_PULL_POLICY", ["", "Always", "IfNotPresent", "Never"], ""),
    imagePullSecrets: reader.list("WAYPOINT_IMAGE_PULL_SECRETS", []),
  };
}

function parseAccount(text: string, reader: ConfigReader): NamespacedAccount[] {
  const [namespace = "", serviceAccount = "", ...rest] = text.split("/");
  if (namespace !== "" && serviceAccount !== "" && rest.length === 0) return [{ namespace, serviceAccount }];
  reader.mistake(
    "CA_TRUSTED_NODE_ACCOUNTS",
    text,
    "is not accepted: give <namespace>/<service account>, comma separated",
  );
  return [];
}

function requiredFile(variable: string, reader: ConfigReader): string {
  const content = reader.optionalFile(variable);
  if (content === undefined && reader.optionalString(variable) === undefined)
    reader.mistake(variable, undefined, "is required: give the path of a PEM public key");
  return content ?? "";
}
