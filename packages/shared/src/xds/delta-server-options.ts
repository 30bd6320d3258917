import type { GrpcService } from "./grpc-method.ts";
import type { Clock } from "../process/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { XdsNode } from "./delta-client-options.ts";

/** A resource as it is served; not changed after it was handed over. Its version is a hash of `body`. */
export interface ServedResource {
  readonly name: string;
  /** Other names that on-demand clients may subscribe by (`network/ip`). */
  readonly aliases?: readonly string[];
  /** Names whose on-demand subscribers get this resource too: a workload's services, `node/<name>`. */
  readonly follows?: readonly string[];
  /** The encoded message: the value of the `Any`. */
  readonly body: Uint8Array;
}

/** What an incoming stream presents before it is believed. */
export interface StreamCredentials {
  /** Values of a gRPC metadata key (lower case), as strings. */
  metadata(key: string): readonly string[];
  /** `ip:port` of the TCP peer. */
  readonly peerAddress: string;
  /** DER of the client's TLS certificate, when it sent one. */
  readonly peerCertificate: Uint8Array | undefined;
}

/** A connected client as callbacks see it. */
export interface XdsPeer<Principal> {
  /** Unique per stream. */
  readonly id: number;
  readonly principal: Principal;
  readonly node: XdsNode;
  readonly peerAddress: string;
}

export interface DeltaXdsServerComponents {
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface DeltaXdsServerOptions<Principal> {
  /** Served types in push order: changes of an earlier type reach a client before those of a later one. */
  readonly typeUrls: readonly string[];
  /** Rejects to refuse the stream (UNAUTHENTICATED, with the error's message). */
  readonly authenticate: (credentials: StreamCredentials) => Promise<Principal>;
  /** Checks what the client says of itself; a returned reason refuses the stream (PERMISSION_DENIED). */
  readonly checkNode?: (principal: Principal, node: XdsNode) => string | undefined;
  /** Which snapshot a client sees of a type; undefined: it may not have this type, and is never answered (logged). */
  readonly scopeOf: (peer: XdsPeer<Principal>, typeUrl: string) => string | undefined;
  /** Names that an on-demand client gets without asking (`node/<its node>`). Default: none. */
  readonly impliedNames?: (peer: XdsPeer<Principal>, typeUrl: string) => readonly string[];
  /** Streams at once; more are refused with RESOURCE_EXHAUSTED. Default 10,000. */
  readonly maxStreams?: number;
  /** Changed names kept for one client and type while it is slow; above, it is compared as a whole later. Default 10,000. */
  readonly maxQueuedNames?: number;
  /** Names (subscribed or held) that one client may send for a type. Default 200,000. */
  readonly maxNamesPerClient?: number;
  /** Ends a stream after this long so that clients spread over servers again. Default 30 min, ±20 %. */
  readonly maxStreamAgeMs?: number;
  /** Ends a stream whose first request does not come. Default 10,000. */
  readonly firstRequestTimeoutMs?: number;
}

export interface NackRecord {
  readonly at: Date;
  readonly nonce: string;
  /** The client's words, at most 4 KiB. */
  readonly message: string;
}

/** One type of one client. */
export interface ClientTypeStatus {
  readonly typeUrl: string;
  readonly scope: string | undefined;
  readonly wildcard: boolean;
  readonly subscribedNames: number;
  /** Resources delivered and not removed again. */
  readonly delivered: number;
  /** True when nothing waits to be sent or acknowledged and something was acknowledged. */
  readonly upToDate: boolean;
  readonly resyncs: number;
  readonly nacks: number;
  readonly lastNack: NackRecord | undefined;
  /** The version of a resource that this client has acknowledged; undefined when it has not, or rejected it. */
  ackedVersion(name: string): string | undefined;
}

export interface ClientStatus<Principal> extends XdsPeer<Principal> {
  readonly connectedAt: Date;
  readonly types: readonly ClientTypeStatus[];
}

/** One answer of a client to one response. */
export interface AckEvent<Principal> {
  readonly peer: XdsPeer<Principal>;
  readonly typeUrl: string;
  readonly nonce: string;
  /** Undefined: acknowledged. Else the client's reasons. */
  readonly nack: string | undefined;
}

/** Serves snapshots of resources over delta ADS and keeps every client in step with them. */
export interface DeltaXdsServer<Principal> {
  /** For {@link listenGrpc}, next to other services of the same port (the CA). */
  readonly service: GrpcService;
  /** Replaces the snapshot of a type and scope, and pushes what differs. Until the first call its clients get no answer. */
  publish(typeUrl: string, scope: string, resources: Iterable<ServedResource>): void;
  /** Changes some resources of a snapshot that was published. */
  update(
    typeUrl: string,
    scope: string,
    change: { readonly upserts?: Iterable<ServedResource>; readonly removed?: Iterable<string> },
  ): void;
  /** Forgets a snapshot; its clients keep what they have. */
  retire(typeUrl: string, scope: string): void;
  /** The version that a published resource has. */
  versionOf(typeUrl: string, scope: string, name: string): string | undefined;
  clients(): readonly ClientStatus<Principal>[];
  /** Called for every ACK and NACK. Returns what takes the listener off. */
  onAck(listener: (event: AckEvent<Principal>) => void): () => void;
  /** Called when a stream was authenticated and named itself, and when it ended. Returns what takes the listener off. */
  onClientsChanged(listener: () => void): () => void;
  /** Ends all streams with status OK, so that clients reconnect at once, and refuses new ones. */
  close(): void;
}
