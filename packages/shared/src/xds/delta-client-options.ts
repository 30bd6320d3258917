import type { XdsClientMetrics } from "./client-metrics.ts";
import type { Clock } from "../process/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { Subscription } from "./resource-type.ts";

/** Who we are to the control plane (`Node` of the first request of a stream). */
export interface XdsNode {
  /** `ztunnel~<ip>~<pod>.<ns>~<ns>.svc.cluster.local`: see {@link formatNodeId}. */
  readonly id: string;
  /** NAME, NAMESPACE, INSTANCE_IPS, NODE_NAME, CLUSTER_ID and ISTIO_META_* without their prefix. Plain JSON values. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface DeltaXdsClientComponents {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: XdsClientMetrics;
  /** Jitter of the backoff; Math.random by default. */
  readonly random?: () => number;
  /** Called after each applied response, whose answer waits for it: where others follow what the handlers hold. Must settle. */
  readonly whenFollowed?: () => Promise<void>;
}

export interface DeltaXdsClientOptions {
  /** `https://host:port`, or `http://host:port` for plaintext. Without a scheme: https. */
  readonly address: string;
  /** Root certificates (PEM), read again for every connection. Undefined from it: the system's roots. Not called for http. */
  readonly rootPem: () => Promise<string | undefined>;
  /** A further name that the server's certificate may carry instead of the host of `address` (ALT_XDS_HOSTNAME). */
  readonly alternativeHostname?: string | undefined;
  /** Bearer token, read again for every stream. Undefined from it: none is sent. */
  readonly token: () => Promise<string | undefined>;
  /** Sent as metadata `clusterid`. */
  readonly clusterId: string;
  /** Further metadata of every stream (XDS_HEADER_*). */
  readonly headers?: Readonly<Record<string, string>>;
  readonly node: XdsNode;
  /** In the order in which they are requested. */
  readonly subscriptions: readonly Subscription[];
  /** Default 5,000. */
  readonly connectTimeoutMs?: number;
  /** Default 200 MiB, as ztunnel. */
  readonly maxMessageBytes?: number;
}

/** What the admin page shows of the client. */
export interface XdsClientStatus {
  readonly connected: boolean;
  /** Why the last stream ended or could not be opened. */
  readonly lastError: string | undefined;
  readonly types: readonly {
    readonly typeUrl: string;
    readonly synced: boolean;
    readonly held: number;
    /** Names rejected in the last responses, with the reason. */
    readonly rejected: ReadonlyMap<string, string>;
  }[];
}

/**
 * Keeps the subscribed resources in step with the control plane over one delta ADS stream (a Component).
 * When the stream ends nothing held is cleared; the next one says what is held, and the server sends the difference.
 */
export interface DeltaXdsClient {
  readonly name: string;
  /** Starts connecting and returns; connection failures are retried for ever and logged. */
  start(): Promise<void>;
  /** Ends the stream. Held resources stay with their handlers. */
  stop(): Promise<void>;
  /** Settles after the first ACKed response of every subscription (a NACKed one does not count). Rejects when stopped before. */
  whenSynced(): Promise<void>;
  /** Changes an on-demand subscription. Throws for a wildcard one or an unknown type. */
  updateNames(typeUrl: string, change: { readonly add?: readonly string[]; readonly remove?: readonly string[] }): void;
  status(): XdsClientStatus;
}

/** ztunnel's node id. An empty ip becomes 1.1.1.1, as istiod needs one. */
export function formatNodeId(node: {
  readonly kind: "ztunnel" | "waypoint";
  readonly ip: string;
  readonly name: string;
  readonly namespace: string;
  readonly clusterDomain?: string;
}): string {
  const domain = `${node.namespace}.svc.${node.clusterDomain ?? "cluster.local"}`;
  return `${node.kind}~${node.ip === "" ? "1.1.1.1" : node.ip}~${node.name}.${node.namespace}~${domain}`;
}
