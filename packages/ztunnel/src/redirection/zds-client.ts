import { closeSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  connectSeqpacket,
  type NetnsHandle,
  netnsFromFd,
  type SeqpacketConnection,
  type SeqpacketMessage,
} from "@hairpin/native";
import { istioZds } from "@hairpin/shared/api";
import { type Clock, delay, errorMessage, MeshError } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { PodIdentity } from "../pod-proxy.ts";

/** What the CNI agent tells us to do. Pods that could not be served stay pending and are tried again by whoever implements it. */
export interface PodHandler {
  /** Uids of the pods that are served or pending. */
  readonly uids: readonly string[];
  /** Owns the handle. Rejects when the pod's listeners could not be bound. */
  add(pod: PodIdentity, netns: NetnsHandle): Promise<void>;
  remove(uid: string): Promise<void>;
}

export interface ZdsClientComponents {
  readonly pods: PodHandler;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The snapshot is complete: pods not named in it were removed. Called for every connection. */
  onSnapshot(): void;
  /** Default: native's. */
  readonly connect?: (path: string) => SeqpacketConnection;
}

/** As ztunnel: 10 ms, doubled up to 15 s. */
const firstBackoffMs = 10;
const maxBackoffMs = 15_000;

/**
 * ztunnel's end of ZDS (ztunnel.md §8.1): says hello, then answers each request of the agent: one packet, one answer, never
 * anything unasked. While the agent is away the pods go on as they are; its next snapshot says which are gone.
 *
 * States: connecting → snapshot (add, keep) → live (add, del), back to connecting when the connection ends.
 */
export class ZdsClient {
  readonly #path: string;
  readonly #components: ZdsClientComponents;
  #connection: SeqpacketConnection | undefined;
  #stopped = new AbortController();

  constructor(path: string, components: ZdsClientComponents) {
    this.#path = path;
    this.#components = components;
  }

  /** Keeps connected until `stop`. */
  start(): void {
    void this.#run();
  }

  stop(): void {
    this.#stopped.abort();
    this.#connection?.close();
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#components;
    let backoffMs = firstBackoffMs;
    while (!this.#stopped.signal.aborted) {
      try {
        const snapshotReceived = await this.#serve();
        if (snapshotReceived) backoffMs = firstBackoffMs;
        if (!this.#stopped.signal.aborted)
          logger.warn("CNI agent disconnected; pods go on as they are", { path: this.#path });
      } catch (error) {
        logger.warn("no CNI agent", { path: this.#path, error: errorMessage(error), retry_ms: backoffMs });
      }
      await delay(clock, backoffMs, this.#stopped.signal).catch(() => {});
      backoffMs = Math.min(backoffMs * 2, maxBackoffMs);
    }
  }

  /** Serves one connection to its end; true when a snapshot was complete. */
  async #serve(): Promise<boolean> {
    const connection = (this.#components.connect ?? connectSeqpacket)(this.#path);
    this.#connection = connection;
    const snapshot = new Snapshot();
    try {
      connection.send(
        toBinary(istioZds.ZdsHelloSchema, create(istioZds.ZdsHelloSchema, { version: istioZds.Version.V1 })),
      );
      for (let message = await connection.receive(); message; message = await connection.receive()) {
        const error = await this.#answer(message, snapshot);
        const ack = { payload: { case: "ack", value: { error } } } as const;
        connection.send(toBinary(istioZds.WorkloadResponseSchema, create(istioZds.WorkloadResponseSchema, ack)));
      }
      return snapshot.complete;
    } finally {
      connection.close();
      this.#connection = undefined;
    }
  }

  /** Does what one request asks; its error text, empty when it was done. Throws on a breach of the protocol. */
  async #answer(message: SeqpacketMessage, snapshot: Snapshot): Promise<string> {
    // The connection takes no message with more.
    const [fd] = message.fds;
    const payload = readRequest(message.bytes);
    if (payload?.case !== "add" && fd !== undefined) {
      closeSync(fd);
      throw protocolError(`a descriptor came with ${payload?.case ?? "an unknown request"}`);
    }
    if (payload === undefined) throw protocolError("a request is malformed");
    switch (payload.case) {
      case "add":
        return await this.#add(payload.value, fd, snapshot);
      case "keep":
        if (snapshot.complete) throw protocolError("keep after the snapshot");
        snapshot.named.add(payload.value.uid);
        return "";
      case "del":
        await this.#components.pods.remove(payload.value.uid);
        return "";
      case "snapshotSent":
        await this.#finishSnapshot(snapshot);
        return "";
      case undefined:
        return "unknown request";
      default:
        return payload satisfies never;
    }
  }

  async #add(request: istioZds.AddWorkload, fd: number | undefined, snapshot: Snapshot): Promise<string> {
    if (fd === undefined) throw protocolError(`no network namespace came with pod ${request.uid}`);
    const netns = netnsFromFd(fd);
    const { uid, workloadInfo } = request;
    if (!workloadInfo) {
      netns.close();
      return `pod ${uid} came without workload info`;
    }
    snapshot.named.add(uid);
    const { name, namespace, serviceAccount } = workloadInfo;
    try {
      await this.#components.pods.add({ uid, info: { name, namespace, serviceAccount } }, netns);
      return "";
    } catch (error) {
      this.#components.logger.error("pod is not served", {
        pod: `${namespace}/${name}`,
        uid,
        error: errorMessage(error),
      });
      return errorMessage(error);
    }
  }

  async #finishSnapshot(snapshot: Snapshot): Promise<void> {
    if (snapshot.complete) throw protocolError("a second snapshot");
    snapshot.complete = true;
    const { pods, logger } = this.#components;
    const gone = pods.uids.filter((uid) => !snapshot.named.has(uid));
    await Promise.all(gone.map(async (uid) => await pods.remove(uid)));
    logger.info("snapshot of pods received", { pods: snapshot.named.size, removed: gone.length });
    this.#components.onSnapshot();
  }
}

/** Undefined: not a request at all. */
function readRequest(bytes: Uint8Array): istioZds.WorkloadRequest["payload"] | undefined {
  try {
    return fromBinary(istioZds.WorkloadRequestSchema, bytes).payload;
  } catch {
    return undefined;
  }
}

/** What the agent has named since the connection began. */
class Snapshot {
  readonly named = new Set<string>();
  complete = false;
}

function protocolError(what: string): MeshError {
  return new MeshError(`The CNI agent broke the protocol: ${what}`, { code: "ZDS_PROTOCOL", origin: "internal" });
}
