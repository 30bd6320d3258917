/** One ztunnel that connected to the ZDS socket: greets, then takes one request at a time. */
import { closeSync } from "node:fs";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { SeqpacketConnection } from "@hairpin/native";
import { istioZds } from "@hairpin/shared/api";
import { type Clock, errorMessage, MeshError } from "@hairpin/shared/process";

/** How long ztunnel may take to say hello or to answer; istio-cni's deadline. */
const answerTimeoutMs = 5000;

export type ZdsRequest = NonNullable<MessageInitShape<typeof istioZds.WorkloadRequestSchema>["payload"]>;

export interface ZtunnelConnectionComponents {
  readonly clock: Clock;
  /** Called once, when the connection ended or was ended, with the reason. */
  onClosed(reason: string): void;
}

/**
 * States: greeting (waits for hello) → idle ⇄ asking (one request in flight) → closed. What comes while idle, a broken
 * message or a missing answer ends it: nobody could tell any more which answer is whose.
 */
export class ZtunnelConnection {
  readonly #connection: SeqpacketConnection;
  readonly #components: ZtunnelConnectionComponents;
  /** Requests follow each other; the queue is as long as there are pods on the node. */
  #queue: Promise<void> = Promise.resolve();
  #awaited: PromiseWithResolvers<Uint8Array> | undefined;
  #closedBecause: string | undefined;

  constructor(connection: SeqpacketConnection, components: ZtunnelConnectionComponents) {
    this.#connection = connection;
    this.#components = components;
  }

  /** Waits for hello. Rejects with `ZDS_VERSION` or `ZDS_TIMEOUT`; the connection is closed then. */
  async greet(): Promise<void> {
    void this.#read();
    try {
      const { version } = fromBinary(istioZds.ZdsHelloSchema, await this.#next());
      if (version !== istioZds.Version.V1)
        throw zdsError("ZDS_VERSION", `ztunnel speaks version ${version} of ZDS, not ${istioZds.Version.V1}`);
    } catch (error) {
      this.close(errorMessage(error));
      throw error;
    }
  }

  /**
   * Asks, after all earlier requests were answered. `prepare` is called when its turn has come: undefined, nothing is asked
   * any more. Rejects with `ZDS_REFUSED` and ztunnel's reason, or `ZDS_TIMEOUT` when the connection ended first.
   */
  async request(prepare: () => { readonly payload: ZdsRequest; readonly fd?: number } | undefined): Promise<void> {
    const exchange = this.#queue.then(async () => await this.#exchange(prepare));
    this.#queue = exchange.then(
      () => {},
      () => {},
    );
    const refusal = await exchange;
    if (refusal !== "") throw zdsError("ZDS_REFUSED", `ztunnel refused: ${refusal}`);
  }

  /** Requests that wait are rejected. Idempotent. */
  close(reason: string): void {
    if (this.#closedBecause !== undefined) return;
    this.#closedBecause = reason;
    this.#connection.close();
    this.#awaited?.reject(this.#lost());
    this.#components.onClosed(reason);
  }

  /** ztunnel's error text; empty when it agreed. */
  async #exchange(prepare: () => { readonly payload: ZdsRequest; readonly fd?: number } | undefined): Promise<string> {
    if (this.#closedBecause !== undefined) throw this.#lost();
    const prepared = prepare();
    if (prepared === undefined) return "";
    const answering = this.#next();
    try {
      this.#connection.send(encodeRequest(prepared.payload), prepared.fd === undefined ? [] : [prepared.fd]);
    } catch (error) {
      this.close(errorMessage(error));
    }
    const { payload } = decodeResponse(await answering);
    if (payload.case === "ack") return payload.value.error;
    this.close("an answer that is none");
    throw this.#lost();
  }

  /** The next message, which is an answer then. */
  async #next(): Promise<Uint8Array> {
    const awaited = Promise.withResolvers<Uint8Array>();
    const timer = this.#components.clock.setTimer(answerTimeoutMs, () => this.close("no answer in time"));
    this.#awaited = awaited;
    try {
      return await awaited.promise;
    } finally {
      timer.cancel();
    }
  }

  /** Reads to the end of the connection, so that its end is known at once. Never rejects. */
  async #read(): Promise<void> {
    try {
      for (let message = await this.#connection.receive(); message; message = await this.#connection.receive()) {
        for (const fd of message.fds) closeSync(fd);
        const awaited = this.#awaited;
        this.#awaited = undefined;
        if (awaited === undefined || message.fds.length > 0) return this.close("ztunnel broke the protocol");
        awaited.resolve(message.bytes);
      }
      this.close("ztunnel closed the connection");
    } catch (error) {
      this.close(errorMessage(error));
    }
  }

  #lost(): MeshError {
    return zdsError("ZDS_TIMEOUT", `ztunnel closed the connection or did not answer: ${this.#closedBecause}`);
  }
}

/** The bytes of a request. They must fit {@link maxRequestBytes}. */
export function encodeRequest(payload: ZdsRequest): Uint8Array {
  return toBinary(istioZds.WorkloadRequestSchema, create(istioZds.WorkloadRequestSchema, { payload }));
}

/** What a ztunnel reads at once; a longer packet would be cut. */
export const maxRequestBytes = 1024;

export function zdsError(code: string, message: string): MeshError {
  return new MeshError(message, { code, origin: "internal", retryable: true });
}

/** Bytes that do not decode are an answer that is none. */
function decodeResponse(bytes: Uint8Array): istioZds.WorkloadResponse {
  try {
    return fromBinary(istioZds.WorkloadResponseSchema, bytes);
  } catch {
    return create(istioZds.WorkloadResponseSchema);
  }
}
