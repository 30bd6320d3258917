import { envoyDiscovery } from "../api/index.ts";
import { errorMessage } from "../process/index.ts";
import { type handleBidiStreamingCall, status } from "@grpc/grpc-js";
import { type DeltaRequest, deltaAdsPath } from "./ads-channel.ts";
import { type AdsServerCall, ClientStream, type DeltaResponse, type StreamHost } from "./client-stream.ts";
import type {
  AckEvent,
  ClientStatus,
  DeltaXdsServer,
  DeltaXdsServerComponents,
  DeltaXdsServerOptions,
  ServedResource,
  StreamCredentials,
} from "./delta-server-options.ts";
import { xdsError } from "./errors.ts";
import { defineGrpcMethod, type GrpcService } from "./grpc-method.ts";
import { Snapshot } from "./snapshot.ts";

/** How long one turn of the event loop may spend on pushing before it lets others in. */
const pushSliceMs = 10;
const maxResponseBytes = 100 * 1024 * 1024;

export function createDeltaXdsServer<Principal>(
  components: DeltaXdsServerComponents,
  options: DeltaXdsServerOptions<Principal>,
): DeltaXdsServer<Principal> {
  return new AdsServer(components, options);
}

/** Streams in, snapshots in, differences out. Pushing runs from a queue of streams, one after the other. */
class AdsServer<Principal> implements DeltaXdsServer<Principal> {
  readonly service: GrpcService;
  readonly #components: DeltaXdsServerComponents;
  readonly #options: DeltaXdsServerOptions<Principal>;
  readonly #host: StreamHost<Principal>;
  /** By type URL, then scope. */
  readonly #snapshots: ReadonlyMap<string, Map<string, Snapshot>>;
  readonly #streams = new Set<ClientStream<Principal>>();
  readonly #pushQueue = new Set<ClientStream<Principal>>();
  readonly #ackListeners = new Set<(event: AckEvent<Principal>) => void>();
  readonly #clientListeners = new Set<() => void>();
  #pushScheduled = false;
  #openStreams = 0;
  #lastId = 0;
  #closed = false;

  constructor(components: DeltaXdsServerComponents, options: DeltaXdsServerOptions<Principal>) {
    this.#components = components;
    this.#options = options;
    this.#snapshots = new Map(options.typeUrls.map((typeUrl) => [typeUrl, new Map()]));
    this.#host = this.#createHost();
    const handler: handleBidiStreamingCall<DeltaRequest, DeltaResponse> = (call) => void this.#accept(call);
    this.service = {
      definition: { DeltaAggregatedResources: deltaAdsMethod },
      implementation: { DeltaAggregatedResources: handler },
    };
  }

  publish(typeUrl: string, scope: string, resources: Iterable<ServedResource>): void {
    const scopes = this.#scopesOf(typeUrl);
    const known = scopes.get(scope);
    const snapshot = known ?? new Snapshot();
    scopes.set(scope, snapshot);
    const changed = snapshot.replace(resources);
    // The first snapshot answers those who wait for one, also when it is empty.
    if (changed.size > 0 || known === undefined) this.#announce(typeUrl, scope, changed);
  }

  update(
    typeUrl: string,
    scope: string,
    change: { readonly upserts?: Iterable<ServedResource>; readonly removed?: Iterable<string> },
  ): void {
    const snapshot = this.#scopesOf(typeUrl).get(scope);
    if (snapshot === undefined)
      throw xdsError("XDS_UNKNOWN_TYPE", `Nothing was published yet for ${typeUrl} in scope ${JSON.stringify(scope)}`);
    const changed = snapshot.update(change.upserts ?? [], change.removed ?? []);
    if (changed.size > 0) this.#announce(typeUrl, scope, changed);
  }

  retire(typeUrl: string, scope: string): void {
    this.#scopesOf(typeUrl).delete(scope);
  }

  versionOf(typeUrl: string, scope: string, name: string): string | undefined {
    return this.#scopesOf(typeUrl).get(scope)?.get(name)?.version;
  }

  clients(): readonly ClientStatus<Principal>[] {
    return Array.from(this.#streams).flatMap((stream) => stream.status() ?? []);
  }

  onAck(listener: (event: AckEvent<Principal>) => void): () => void {
    this.#ackListeners.add(listener);
    return () => this.#ackListeners.delete(listener);
  }

  onClientsChanged(listener: () => void): () => void {
    this.#clientListeners.add(listener);
    return () => this.#clientListeners.delete(listener);
  }

  close(): void {
    this.#closed = true;
    for (const stream of this.#streams) stream.end();
  }

  #createHost(): StreamHost<Principal> {
    const options = this.#options;
    const { clock, logger } = this.#components;
    return {
      clock,
      logger,
      typeUrls: options.typeUrls,
      limits: {
        maxQueuedNames: options.maxQueuedNames ?? 10_000,
        maxNamesPerClient: options.maxNamesPerClient ?? 200_000,
        maxResponseBytes,
      },
      checkNode: (principal, node) => options.checkNode?.(principal, node),
      snapshot: (typeUrl, scope) => this.#snapshots.get(typeUrl)?.get(scope),
      scopeOf: (peer, typeUrl) => options.scopeOf(peer, typeUrl),
      impliedNames: (peer, typeUrl) => options.impliedNames?.(peer, typeUrl) ?? [],
      schedule: (stream) => this.#schedule(stream),
      identified: () => this.#clientsChanged(),
      acked: (event) => {
        for (const listener of this.#ackListeners) listener(event);
      },
    };
  }

  /** Nothing a client sent is looked at before it is authenticated. */
  async #accept(call: AdsServerCall): Promise<void> {
    const { logger } = this.#components;
    const peerAddress = call.getPeer();
    const refuse = (code: status, details: string): void => {
      logger.warn("xds stream refused", { peer: peerAddress, error: details });
      call.emit("error", { code, details });
    };
    if (this.#closed) return refuse(status.UNAVAILABLE, "the server is shutting down");
    if (this.#openStreams >= (this.#options.maxStreams ?? 10_000))
      return refuse(status.RESOURCE_EXHAUSTED, "too many streams");
    this.#openStreams++;
    let gone = false;
    let onGone = (): void => {};
    const leave = (): void => {
      if (gone) return;
      gone = true;
      this.#openStreams--;
      onGone();
    };
    call.on("cancelled", leave);
    call.on("close", leave);
    call.on("error", leave);
    try {
      const principal = await this.#options.authenticate(credentialsOf(call, peerAddress));
      if (gone) return;
      if (this.#closed) return refuse(status.UNAVAILABLE, "the server is shutting down");
      const stream = new ClientStream(this.#host, call, { id: ++this.#lastId, principal, peerAddress });
      onGone = this.#serve(stream, call);
    } catch (error) {
      if (!gone) refuse(status.UNAUTHENTICATED, errorMessage(error));
    }
  }

  /** Returns what to do when the stream is gone. */
  #serve(stream: ClientStream<Principal>, call: AdsServerCall): () => void {
    const { clock, logger } = this.#components;
    this.#streams.add(stream);
    const firstRequest = clock.setTimer(this.#options.firstRequestTimeoutMs ?? 10_000, () => {
      if (!stream.identified) stream.fail(status.DEADLINE_EXCEEDED, "no request came");
    });
    const maxAgeMs = (this.#options.maxStreamAgeMs ?? 30 * 60_000) * (0.8 + 0.4 * Math.random());
    const age = clock.setTimer(maxAgeMs, () => stream.end());
    call.on("data", (request: DeltaRequest) => {
      try {
        stream.receive(request);
      } catch (error) {
        logger.error("xds request could not be processed", { peer: call.getPeer(), error: errorMessage(error) });
        stream.fail(status.INTERNAL, "internal error");
      }
    });
    call.on("end", () => stream.end());
    return () => {
      firstRequest.cancel();
      age.cancel();
      stream.release();
      this.#streams.delete(stream);
      this.#pushQueue.delete(stream);
      this.#clientsChanged();
    };
  }

  #announce(typeUrl: string, scope: string, names: ReadonlySet<string>): void {
    for (const stream of this.#streams) stream.changed(typeUrl, scope, names);
  }

  #schedule(stream: ClientStream<Principal>): void {
    this.#pushQueue.add(stream);
    if (this.#pushScheduled) return;
    this.#pushScheduled = true;
    setImmediate(() => this.#drainPushQueue());
  }

  #drainPushQueue(): void {
    const start = performance.now();
    for (const stream of this.#pushQueue) {
      this.#pushQueue.delete(stream);
      stream.flush();
      if (performance.now() - start > pushSliceMs) break;
    }
    this.#pushScheduled = this.#pushQueue.size > 0;
    if (this.#pushScheduled) setImmediate(() => this.#drainPushQueue());
  }

  #clientsChanged(): void {
    for (const listener of this.#clientListeners) listener();
  }

  #scopesOf(typeUrl: string): Map<string, Snapshot> {
    const scopes = this.#snapshots.get(typeUrl);
    if (scopes === undefined) throw xdsError("XDS_UNKNOWN_TYPE", `${typeUrl} is not among the served types`);
    return scopes;
  }
}

const deltaAdsMethod = defineGrpcMethod({
  path: deltaAdsPath,
  request: envoyDiscovery.DeltaDiscoveryRequestSchema,
  response: envoyDiscovery.DeltaDiscoveryResponseSchema,
  streaming: "both",
});

function credentialsOf(call: AdsServerCall, peerAddress: string): StreamCredentials {
  return {
    metadata: (key) => call.metadata.get(key).map(String),
    peerAddress,
    peerCertificate: call.getAuthContext().sslPeerCertificate?.raw,
  };
}
