import { setImmediate as nextTurn } from "node:timers/promises";
import { create, type JsonObject } from "@bufbuild/protobuf";
import { type Client, status } from "@grpc/grpc-js";
import { envoyDiscovery } from "../api/index.ts";
import { delay, errorMessage } from "../process/index.ts";
import {
  type AdsAddress,
  type AdsCall,
  createAdsClient,
  createAdsMetadata,
  onceConnected,
  openAdsStream,
  parseAdsAddress,
  type SizedResponse,
} from "./ads-channel.ts";
import type {
  DeltaXdsClient,
  DeltaXdsClientComponents,
  DeltaXdsClientOptions,
  XdsClientStatus,
} from "./delta-client-options.ts";
import { xdsError } from "./errors.ts";
import { ReconnectBackoff, type StreamEnd } from "./reconnect-backoff.ts";
import { acknowledgement, SubscribedType } from "./subscribed-type.ts";

/** Resources decoded in one turn of the event loop: a large push must not hold up the tunnels. */
const decodeSlice = 256;

/** Throws `XDS_BAD_ADDRESS` when the address cannot be read. */
export function createDeltaXdsClient(
  components: DeltaXdsClientComponents,
  options: DeltaXdsClientOptions,
): DeltaXdsClient {
  return new AdsClient(components, options);
}

/**
 * The loop: connect → one request per type → (response → decode → apply → ACK/NACK)* → end → wait → connect again.
 * One response is worked on at a time; the stream is not read meanwhile, so the server feels it.
 */
class AdsClient implements DeltaXdsClient {
  readonly name = "xds client";
  readonly #components: DeltaXdsClientComponents;
  readonly #options: DeltaXdsClientOptions;
  readonly #address: AdsAddress;
  readonly #types: ReadonlyMap<string, SubscribedType>;
  readonly #backoff: ReconnectBackoff;
  readonly #stopping = new AbortController();
  readonly #synced = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;
  #call: AdsCall | undefined;
  #connected = false;
  #lastError: string | undefined;

  constructor(components: DeltaXdsClientComponents, options: DeltaXdsClientOptions) {
    this.#components = components;
    this.#options = options;
    this.#address = parseAdsAddress(options.address);
    this.#types = new Map(options.subscriptions.map((s) => [s.typeUrl, new SubscribedType(s)]));
    this.#backoff = new ReconnectBackoff(components.random ?? Math.random);
    // Nobody need be waiting when the client is stopped early.
    this.#synced.promise.catch(() => {});
    if (this.#types.size === 0) this.#synced.resolve();
  }

  start(): Promise<void> {
    this.#running ??= this.#run();
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#synced.reject(xdsError("XDS_STOPPED", "The xDS client was stopped before it was in sync"));
    this.#call?.cancel();
    await this.#running;
  }

  whenSynced(): Promise<void> {
    return this.#synced.promise;
  }

  updateNames(
    typeUrl: string,
    change: { readonly add?: readonly string[]; readonly remove?: readonly string[] },
  ): void {
    const type = this.#types.get(typeUrl);
    if (type === undefined || type.wildcard)
      throw xdsError("XDS_UNKNOWN_TYPE", `${typeUrl} is not subscribed on demand`);
    const add = (change.add ?? []).filter((name) => !type.names.has(name));
    const remove = (change.remove ?? []).filter((name) => type.names.has(name));
    if (add.length === 0 && remove.length === 0) return;
    const request = type.changeRequest(add, remove);
    this.#call?.write(request);
  }

  status(): XdsClientStatus {
    const types = Array.from(this.#types.values(), (type) => ({
      typeUrl: type.typeUrl,
      synced: type.synced,
      held: type.held.size,
      rejected: new Map(type.rejected),
    }));
    return { connected: this.#connected, lastError: this.#lastError, types };
  }

  async #run(): Promise<void> {
    const { clock, logger, metrics } = this.#components;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const end = await this.#runStream();
      if (signal.aborted) return;
      const { reason, delayMs } = this.#backoff.next(end);
      metrics?.connectionTerminated(reason);
      this.#lastError = `${status[end.code] ?? end.code}: ${end.details}`;
      const fields = { address: this.#options.address, reason, error: this.#lastError, retryInMs: Math.round(delayMs) };
      if (reason === "Complete" || reason === "Reconnect") logger.info("xds stream ended", fields);
      else logger.warn("xds stream failed", fields);
      await delay(clock, delayMs, signal).catch(() => {});
    }
  }

  /** One connection, from its roots and token to its end. Never rejects. */
  async #runStream(): Promise<StreamEnd> {
    let client: Client | undefined;
    try {
      client = await createAdsClient(this.#address, this.#options);
      const call = openAdsStream(client, await createAdsMetadata(this.#options));
      return await this.#serve(client, call);
    } catch (error) {
      return { connected: false, responded: false, code: status.UNKNOWN, details: errorMessage(error) };
    } finally {
      this.#call = undefined;
      this.#connected = false;
      client?.close();
    }
  }

  async #serve(client: Client, call: AdsCall): Promise<StreamEnd> {
    const { clock, logger } = this.#components;
    let connected = false;
    let responded = false;
    let working: Promise<void> = Promise.resolve();
    const ended = Promise.withResolvers<{ code: status; details: string }>();
    const timer = clock.setTimer(this.#options.connectTimeoutMs ?? 5_000, () => call.cancel());
    onceConnected(client, () => {
      connected = true;
      this.#connected = true;
      timer.cancel();
    });
    call.on("data", (message: SizedResponse) => {
      responded = true;
      call.pause();
      working = this.#receive(call, message).then(
        () => void call.resume(),
        (error: unknown) => {
          logger.error("xds response could not be processed", { error: errorMessage(error) });
          call.cancel();
        },
      );
    });
    // The status says it all; without a listener the error would be thrown.
    call.on("error", () => {});
    call.on("status", ({ code, details }) => ended.resolve({ code, details }));
    call.on("end", () => call.end());
    this.#call = call;
    if (this.#stopping.signal.aborted) call.cancel();
    else this.#subscribe(call);
    const end = await ended.promise;
    timer.cancel();
    await working;
    const details = connected ? end.details : `not connected: ${end.details}`;
    return { connected, responded, code: end.code, details };
  }

  /** The node goes with the first request of the stream only. */
  #subscribe(call: AdsCall): void {
    const { id, metadata } = this.#options.node;
    let node: envoyDiscovery.Node | undefined = create(envoyDiscovery.NodeSchema, {
      id,
      metadata: structuredClone(metadata) as JsonObject,
    });
    for (const type of this.#types.values()) {
      const request = type.initialRequest();
      if (node) request.node = node;
      node = undefined;
      call.write(request);
    }
  }

  async #receive(call: AdsCall, { response, bytes }: SizedResponse): Promise<void> {
    const { logger, metrics } = this.#components;
    metrics?.messageReceived(response.typeUrl, bytes);
    const type = this.#types.get(response.typeUrl);
    if (type === undefined) {
      logger.warn("xds response of an unknown type", { type: response.typeUrl });
      call.write(acknowledgement(response, new Map()));
      return;
    }
    const rejected = await this.#apply(type, response);
    await this.#components.whenFollowed?.();
    const { request, syncedNow } = type.settle(response, rejected);
    for (const [name, reason] of rejected)
      logger.warn("xds resource rejected", { type: type.typeUrl, name, error: reason });
    call.write(request);
    const fields = {
      type: type.typeUrl,
      resources: response.resources.length,
      removed: response.removedResources.length,
    };
    logger.debug("xds response applied", fields);
    if (syncedNow && Array.from(this.#types.values()).every((each) => each.synced)) this.#synced.resolve();
  }

  async #apply(
    type: SubscribedType,
    response: envoyDiscovery.DeltaDiscoveryResponse,
  ): Promise<ReadonlyMap<string, string>> {
    const batch = type.subscription.createBatch();
    for (const [i, { name, version, resource }] of response.resources.entries()) {
      if (i % decodeSlice === decodeSlice - 1) await nextTurn();
      if (resource?.typeUrl === type.typeUrl) batch.add(name, version, resource.value);
      else batch.addUnreadable(name, `holds ${JSON.stringify(resource?.typeUrl ?? "nothing")}`);
    }
    const firstOfStream = type.awaitingFirst && type.wildcard;
    type.awaitingFirst = false;
    if (firstOfStream) type.rejected.clear();
    try {
      return batch.apply({ removed: response.removedResources, firstOfStream });
    } catch (error) {
      // A handler must not throw; if it does, nothing of the response counts as held.
      const reason = `could not be applied: ${errorMessage(error)}`;
      this.#components.logger.error("xds handler failed", { type: type.typeUrl, error: errorMessage(error) });
      return new Map(["*", ...response.resources.map((resource) => resource.name)].map((name) => [name, reason]));
    }
  }
}
