// The CNI agent's end of ZDS: hands the network namespaces of captured pods to the ztunnel of a node. Istio's protocol:
// hello, snapshot, then one request at a time, each answered.

import { closeSync, openSync } from "node:fs";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { listenSeqpacket, type SeqpacketConnection, type SeqpacketListener } from "@hairpin/native";
import { istioZds } from "@hairpin/shared/api";
import { errorMessage, MeshError } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";

export interface CapturedPod {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly netnsPath: string;
}

/** How long ztunnel may take to say hello or to answer; istio-cni's deadline. */
const answerTimeoutMs = 5000;
/** More ztunnels of one node at a time (old and new during an update) are refused. */
const maxConnections = 8;

type Request = NonNullable<MessageInitShape<typeof istioZds.WorkloadRequestSchema>["payload"]>;

export class ZdsServer {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #pods = new Map<string, CapturedPod>();
  /** Oldest first; new pods go to the last. */
  readonly #clients: ZdsClient[] = [];
  #listener: SeqpacketListener | undefined;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
  }

  start(): void {
    this.#listener = listenSeqpacket(this.#path);
    void this.#accept(this.#listener);
  }

  stop(): void {
    this.#listener?.close();
    for (const client of this.#clients) client.close();
  }

  /** Resolves when ztunnel has bound its listeners in the pod. Rejects with `ZDS_NO_ZTUNNEL`, `ZDS_REFUSED` or `ZDS_TIMEOUT`. */
  async add(pod: CapturedPod): Promise<void> {
    const newest = this.#clients.at(-1);
    if (newest === undefined) throw zdsError("ZDS_NO_ZTUNNEL", "No ztunnel is connected on this node");
    await newest.add(pod);
    // A ztunnel that connects from now on gets it with the snapshot.
    this.#pods.set(pod.uid, pod);
    const after = this.#clients.at(-1);
    if (after !== undefined && after !== newest) await after.add(pod);
  }

  /** Tells every ztunnel; one that does not answer loses its connection, and the pod with it. */
  async remove(uid: string): Promise<void> {
    this.#pods.delete(uid);
    await Promise.allSettled(this.#clients.map(async (client) => await client.remove(uid)));
  }

  async #accept(listener: SeqpacketListener): Promise<void> {
    for (;;) {
      const connection = await listener.accept().catch((error: unknown) => {
        this.#logger.warn("cannot accept ztunnel", { error: errorMessage(error) });
        return null;
      });
      if (connection === undefined) return;
      if (connection !== null) void this.#serve(connection);
    }
  }

  async #serve(connection: SeqpacketConnection): Promise<void> {
    const client = new ZdsClient(connection, (reason) => this.#drop(client, reason));
    try {
      if (connection.peer.uid !== process.getuid?.() || this.#clients.length >= maxConnections)
        throw zdsError("ZDS_PEER", "A process that may not speak ZDS connected");
      await client.greet();
      for (const pod of this.#pods.values())
        await client.add(pod).catch((error: unknown) => {
          // ztunnel keeps trying pods it could not take.
          this.#logger.warn("ztunnel did not take a pod", { pod: pod.name, error: errorMessage(error) });
        });
      await client.finishSnapshot();
      this.#clients.push(client);
      this.#logger.info("ztunnel connected", { pods: this.#pods.size });
    } catch (error) {
      this.#drop(client, errorMessage(error));
    }
  }

  #drop(client: ZdsClient, reason: string): void {
    client.close();
    const index = this.#clients.indexOf(client);
    if (index >= 0) this.#clients.splice(index, 1);
    this.#logger.info("ztunnel disconnected", { reason });
  }
}

/** One connection of a ztunnel. */
class ZdsClient {
  readonly #connection: SeqpacketConnection;
  readonly #onLost: (reason: string) => void;
  /** Requests follow each other; the queue is as long as there are pods on the node. */
  #queue: Promise<void> = Promise.resolve();

  constructor(connection: SeqpacketConnection, onLost: (reason: string) => void) {
    this.#connection = connection;
    this.#onLost = onLost;
  }

  async greet(): Promise<void> {
    const hello = fromBinary(istioZds.ZdsHelloSchema, await this.#receive());
    if (hello.version !== istioZds.Version.V1)
      throw zdsError("ZDS_VERSION", `ztunnel speaks version ${hello.version} of ZDS, not 1`);
  }

  async add(pod: CapturedPod): Promise<void> {
    const { uid, name, namespace, serviceAccount } = pod;
    const value = { uid, workloadInfo: { name, namespace, serviceAccount } };
    await this.#request({ case: "add", value }, pod.netnsPath);
  }

  async remove(uid: string): Promise<void> {
    await this.#request({ case: "del", value: { uid } });
  }

  async finishSnapshot(): Promise<void> {
    await this.#request({ case: "snapshotSent", value: {} });
  }

  close(): void {
    this.#connection.close();
  }

  async #request(payload: Request, netnsPath?: string): Promise<void> {
    const exchange = this.#queue.then(async () => await this.#exchange(payload, netnsPath));
    this.#queue = exchange.then(
      () => {},
      () => {},
    );
    const refusal = await exchange;
    if (refusal !== "") throw zdsError("ZDS_REFUSED", `ztunnel refused: ${refusal}`);
  }

  /** ztunnel's error text; empty when it agreed. A broken exchange ends the connection: nobody could tell which answer is whose. */
  async #exchange(payload: Request, netnsPath: string | undefined): Promise<string> {
    try {
      const bytes = toBinary(istioZds.WorkloadRequestSchema, create(istioZds.WorkloadRequestSchema, { payload }));
      if (netnsPath === undefined) this.#connection.send(bytes);
      else this.#sendWithNetns(bytes, netnsPath);
      const { payload: answer } = fromBinary(istioZds.WorkloadResponseSchema, await this.#receive());
      return answer.case === "ack" ? answer.value.error : "an answer that is none";
    } catch (error) {
      this.#onLost(errorMessage(error));
      throw error;
    }
  }

  #sendWithNetns(bytes: Uint8Array, netnsPath: string): void {
    const fd = openSync(netnsPath, "r");
    try {
      this.#connection.send(bytes, [fd]);
    } finally {
      closeSync(fd);
    }
  }

  async #receive(): Promise<Uint8Array> {
    const timer = setTimeout(() => this.#connection.close(), answerTimeoutMs);
    const message = await this.#connection.receive().finally(() => clearTimeout(timer));
    if (message === undefined) throw zdsError("ZDS_TIMEOUT", "ztunnel closed the connection or did not answer in time");
    for (const fd of message.fds) closeSync(fd);
    return message.bytes;
  }
}

function zdsError(code: string, message: string): MeshError {
  return new MeshError(message, { code, origin: "internal", retryable: true });
}
