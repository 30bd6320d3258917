import { create } from "@bufbuild/protobuf";
import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import { envoyDiscovery } from "../api/index.ts";
import type { Clock, Timer } from "../process/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { DeltaRequest } from "./ads-channel.ts";
import { ClientType, type ClientTypeLimits, type PendingResponse } from "./client-type.ts";
import type { XdsNode } from "./delta-client-options.ts";
import type { AckEvent, ClientStatus, ClientTypeStatus, NackRecord, XdsPeer } from "./delta-server-options.ts";
import type { Snapshot } from "./snapshot.ts";

export type DeltaResponse = envoyDiscovery.DeltaDiscoveryResponse;
export type AdsServerCall = ServerDuplexStream<DeltaRequest, DeltaResponse>;

/** What a stream needs of its server. */
export interface StreamHost<Principal> {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly typeUrls: readonly string[];
  readonly limits: ClientTypeLimits;
  checkNode(principal: Principal, node: XdsNode): string | undefined;
  snapshot(typeUrl: string, scope: string): Snapshot | undefined;
  scopeOf(peer: XdsPeer<Principal>, typeUrl: string): string | undefined;
  impliedNames(peer: XdsPeer<Principal>, typeUrl: string): readonly string[];
  /** Asks for {@link ClientStream.flush} soon. */
  schedule(stream: ClientStream<Principal>): void;
  /** The client named itself. */
  identified(stream: ClientStream<Principal>): void;
  acked(event: AckEvent<Principal>): void;
}

const maxNackBytes = 4096;
/** How long a new stream's first answers wait for its other subscriptions, so that types come in push order from the start. */
const settleMs = 50;
/** Names of one client's requests that are logged as not served; further ones are not. */
const maxUnservedLogged = 8;

/** One authenticated stream: nameless until its first request brought the node, then serving its types in push order. */
export class ClientStream<Principal> {
  readonly id: number;
  readonly #host: StreamHost<Principal>;
  readonly #call: AdsServerCall;
  readonly #principal: Principal;
  readonly #peerAddress: string;
  readonly #connectedAt: Date;
  readonly #types = new Map<string, ClientType>();
  readonly #unserved = new Set<string>();
  #peer: XdsPeer<Principal> | undefined;
  #nonce = 0;
  #ended = false;
  /** True once every type the client may have is subscribed, or it had time enough. */
  #settled = false;
  #settling: Timer | undefined;

  constructor(
    host: StreamHost<Principal>,
    call: AdsServerCall,
    about: { readonly id: number; readonly principal: Principal; readonly peerAddress: string },
  ) {
    this.#host = host;
    this.#call = call;
    this.id = about.id;
    this.#principal = about.principal;
    this.#peerAddress = about.peerAddress;
    this.#connectedAt = host.clock.wallTime();
  }

  get identified(): boolean {
    return this.#peer !== undefined;
  }

  /** Undefined before the first request. */
  status(): ClientStatus<Principal> | undefined {
    if (this.#peer === undefined) return undefined;
    const types = Array.from(this.#types.values(), typeStatus);
    return { ...this.#peer, connectedAt: this.#connectedAt, types };
  }

  receive(request: DeltaRequest): void {
    if (this.#ended) return;
    const peer = this.#peer ?? this.#identify(request);
    if (peer === undefined) return;
    const type = this.#types.get(request.typeUrl) ?? this.#open(peer, request.typeUrl);
    if (type === undefined) return;
    if (request.responseNonce !== "") this.#answer(peer, type, request);
    const excess = type.request(
      {
        subscribe: request.resourceNamesSubscribe,
        unsubscribe: request.resourceNamesUnsubscribe,
        initialVersions: request.initialResourceVersions,
      },
      this.#host.snapshot(type.typeUrl, type.scope),
    );
    if (excess !== undefined) return this.fail(status.RESOURCE_EXHAUSTED, excess);
    this.#settle(peer);
  }

  /** Names of a snapshot changed. */
  changed(typeUrl: string, scope: string, names: ReadonlySet<string>): void {
    const type = this.#types.get(typeUrl);
    if (type?.scope !== scope) return;
    type.changed(names);
    if (this.#settled) this.#host.schedule(this);
  }

  /**
   * Sends what waits. A type is held back while an earlier one has changes that could not be sent yet: policies reach the
   * client before the workloads that list them.
   */
  flush(): void {
    for (const typeUrl of this.#host.typeUrls) {
      if (this.#ended) return;
      const type = this.#types.get(typeUrl);
      if (type === undefined || !type.pending) continue;
      if (type.waiting) return;
      const snapshot = this.#host.snapshot(typeUrl, type.scope);
      if (snapshot === undefined) continue;
      const response = type.next(snapshot);
      if (response) this.#send(type, response);
      if (type.pending) return;
    }
  }

  /** The stream is gone. */
  release(): void {
    this.#ended = true;
    this.#settling?.cancel();
  }

  /** Status OK: the client reconnects at once. */
  end(): void {
    if (this.#ended) return;
    this.release();
    this.#call.end();
  }

  fail(code: status, details: string): void {
    if (this.#ended) return;
    this.release();
    this.#host.logger.warn("xds stream refused", { peer: this.#peerAddress, error: details });
    this.#call.emit("error", { code, details });
  }

  #identify(request: DeltaRequest): XdsPeer<Principal> | undefined {
    const node: XdsNode = { id: request.node?.id ?? "", metadata: { ...request.node?.metadata } };
    if (node.id === "") {
      this.fail(status.INVALID_ARGUMENT, "the first request of a stream must name the node");
      return undefined;
    }
    const refusal = this.#host.checkNode(this.#principal, node);
    if (refusal !== undefined) {
      this.fail(status.PERMISSION_DENIED, refusal);
      return undefined;
    }
    this.#peer = { id: this.id, principal: this.#principal, node, peerAddress: this.#peerAddress };
    this.#host.identified(this);
    return this.#peer;
  }

  #settle(peer: XdsPeer<Principal>): void {
    const { typeUrls } = this.#host;
    this.#settled ||= typeUrls.every((url) => this.#types.has(url) || this.#host.scopeOf(peer, url) === undefined);
    if (this.#settled) {
      this.#settling?.cancel();
      this.#host.schedule(this);
    } else
      this.#settling ??= this.#host.clock.setTimer(settleMs, () => {
        this.#settled = true;
        this.#host.schedule(this);
      });
  }

  #open(peer: XdsPeer<Principal>, typeUrl: string): ClientType | undefined {
    const served = this.#host.typeUrls.includes(typeUrl);
    const scope = served ? this.#host.scopeOf(peer, typeUrl) : undefined;
    if (scope === undefined) {
      if (!this.#unserved.has(typeUrl) && this.#unserved.size < maxUnservedLogged) {
        this.#unserved.add(typeUrl);
        const reason = served ? "this client may not have it" : "no such type is served";
        this.#host.logger.warn("xds subscription is not answered", { node: peer.node.id, type: typeUrl, reason });
      }
      return undefined;
    }
    const implied = this.#host.impliedNames(peer, typeUrl);
    const type = new ClientType({ typeUrl, scope, implied }, this.#host.limits);
    this.#types.set(typeUrl, type);
    return type;
  }

  #answer(peer: XdsPeer<Principal>, type: ClientType, request: DeltaRequest): void {
    const { responseNonce: nonce, errorDetail } = request;
    const message = errorDetail?.message.slice(0, maxNackBytes);
    const nack: NackRecord | undefined =
      message === undefined ? undefined : { at: this.#host.clock.wallTime(), nonce, message };
    if (!type.answered(nonce, nack)) return;
    if (message !== undefined)
      this.#host.logger.warn("xds resources rejected by a client", {
        node: peer.node.id,
        type: type.typeUrl,
        error: message,
      });
    this.#host.acked({ peer, typeUrl: type.typeUrl, nonce, nack: message });
  }

  #send(type: ClientType, response: PendingResponse): void {
    const nonce = `${this.id}-${++this.#nonce}`;
    type.sent(nonce, response);
    this.#call.write(encodeResponse(type, nonce, response));
  }
}

function encodeResponse(type: ClientType, nonce: string, response: PendingResponse): DeltaResponse {
  return create(envoyDiscovery.DeltaDiscoveryResponseSchema, {
    typeUrl: type.typeUrl,
    nonce,
    resources: response.resources.map(({ name, aliases, version, body }) => ({
      name,
      version,
      // Wildcard clients have no use for aliases (as istiod).
      aliases: type.wildcard ? [] : [...(aliases ?? [])],
      resource: { typeUrl: type.typeUrl, value: body },
    })),
    removedResources: [...response.removed],
  });
}

function typeStatus(type: ClientType): ClientTypeStatus {
  return {
    typeUrl: type.typeUrl,
    scope: type.scope,
    wildcard: type.wildcard,
    subscribedNames: type.subscribedNames,
    delivered: type.delivered,
    upToDate: type.upToDate,
    resyncs: type.resyncs,
    nacks: type.nacks,
    lastNack: type.lastNack,
    ackedVersion: (name) => type.ackedVersion(name),
  };
}
