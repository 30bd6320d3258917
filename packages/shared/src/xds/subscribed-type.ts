import { create } from "@bufbuild/protobuf";
import { envoyDiscovery } from "../api/index.ts";
import type { DeltaRequest } from "./ads-channel.ts";
import type { Subscription } from "./resource-type.ts";

const { DeltaDiscoveryRequestSchema, StatusSchema } = envoyDiscovery;

/** gRPC's INVALID_ARGUMENT, the code of a NACK. */
const invalidArgument = 3;
const maxNackBytes = 4096;

/** What the client knows of one subscribed type, over all its streams. */
export class SubscribedType {
  readonly subscription: Subscription;
  /** Name → version of what the handler holds: told to the server when a stream opens. */
  readonly held: Map<string, string> = new Map();
  readonly rejected: Map<string, string> = new Map();
  /** On-demand names; unused for a wildcard. */
  readonly names: Set<string>;
  synced = false;
  /** True until the first response of the current stream. */
  awaitingFirst = true;

  constructor(subscription: Subscription) {
    this.subscription = subscription;
    this.names = new Set(subscription.names === "*" ? [] : subscription.names);
  }

  get typeUrl(): string {
    return this.subscription.typeUrl;
  }

  get wildcard(): boolean {
    return this.subscription.names === "*";
  }

  /** The first request of a stream. A wildcard subscribes to no name at all; "nothing" is `*` taken and given back. */
  initialRequest(): DeltaRequest {
    this.awaitingFirst = true;
    const nothing = !this.wildcard && this.names.size === 0;
    return create(DeltaDiscoveryRequestSchema, {
      typeUrl: this.typeUrl,
      resourceNamesSubscribe: nothing ? ["*"] : [...this.names],
      resourceNamesUnsubscribe: nothing ? ["*"] : [],
      initialResourceVersions: Object.fromEntries(this.held),
    });
  }

  changeRequest(add: readonly string[], remove: readonly string[]): DeltaRequest {
    for (const name of add) this.names.add(name);
    for (const name of remove) {
      this.names.delete(name);
      this.held.delete(name);
    }
    return create(DeltaDiscoveryRequestSchema, {
      typeUrl: this.typeUrl,
      resourceNamesSubscribe: [...add],
      resourceNamesUnsubscribe: [...remove],
    });
  }

  /**
   * Applies a decoded response and returns its ACK or NACK. What was refused keeps the version that is still held, if any,
   * so that the server sends it again on the next stream.
   */
  settle(
    response: envoyDiscovery.DeltaDiscoveryResponse,
    rejected: ReadonlyMap<string, string>,
  ): { readonly request: DeltaRequest; readonly syncedNow: boolean } {
    for (const name of response.removedResources) {
      this.held.delete(name);
      this.rejected.delete(name);
    }
    for (const { name, version } of response.resources) {
      const reason = rejected.get(name);
      if (reason === undefined) {
        this.held.set(name, version);
        this.rejected.delete(name);
      } else this.rejected.set(name, reason);
    }
    const syncedNow = !this.synced && rejected.size === 0;
    this.synced ||= rejected.size === 0;
    return { request: acknowledgement(response, rejected), syncedNow };
  }
}

/** ACK, or NACK with `name: reason; …`. */
export function acknowledgement(
  response: Pick<envoyDiscovery.DeltaDiscoveryResponse, "typeUrl" | "nonce">,
  rejected: ReadonlyMap<string, string>,
): DeltaRequest {
  const request = create(DeltaDiscoveryRequestSchema, { typeUrl: response.typeUrl, responseNonce: response.nonce });
  if (rejected.size > 0) {
    const message = Array.from(rejected, ([name, reason]) => `${name}: ${reason}`).join("; ");
    request.errorDetail = create(StatusSchema, { code: invalidArgument, message: message.slice(0, maxNackBytes) });
  }
  return request;
}
