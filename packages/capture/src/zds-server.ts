// The CNI agent's end of ZDS: hands the network namespaces of captured pods to the ztunnel of a node. Istio's protocol:
// hello, snapshot, then one request at a time, each answered.

import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { listenSeqpacket, type NetnsHandle, openNetns, type SeqpacketConnection } from "@hairpin/native";
import { type Clock, delay, errorMessage, systemClock } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { encodeRequest, maxRequestBytes, zdsError, type ZdsRequest, ZtunnelConnection } from "./ztunnel-connection.ts";

export interface CapturedPod {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly netnsPath: string;
}

/** More ztunnels of one node at a time (old and new during an update) are refused. */
const maxConnections = 8;
/** At most five connections a second, as istio-cni; also the pause when accepting fails (too many open files). */
const acceptPauseMs = 200;

/** A pod that a ztunnel serves. */
interface ServedPod {
  readonly request: ZdsRequest;
  /** Held open: the pod can be handed to a later ztunnel even when its path is gone. */
  readonly netns: NetnsHandle;
}

/** The ZDS socket of one node. Pods that ztunnel took are handed to every ztunnel that connects later, until they are removed. */
export class ZdsServer {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #pods = new Map<string, ServedPod>();
  /** The last `add` of each pod that was not removed since. */
  readonly #wanted = new Map<string, symbol>();
  /** Of all that connected, in order; those that have said hello come as `#ztunnels`. */
  readonly #connections = new Set<ZtunnelConnection>();
  /** Oldest first; new pods go to the last. */
  readonly #ztunnels: ZtunnelConnection[] = [];
  readonly #stopped = new AbortController();

  readonly #onChanged: () => void;

  /** `onChanged`: a ztunnel has come (and has its snapshot) or gone. */
  constructor(path: string, logger: Logger, clock: Clock = systemClock, onChanged: () => void = () => {}) {
    this.#path = path;
    this.#logger = logger;
    this.#clock = clock;
    this.#onChanged = onChanged;
  }

  /** Ztunnels that are connected now. */
  get ztunnelCount(): number {
    return this.#ztunnels.length;
  }

  /** Listens, in a folder of root's own if there is none yet. Throws `EADDRINUSE` when another agent does. */
  start(): void {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    const listener = listenSeqpacket(this.#path);
    this.#stopped.signal.addEventListener("abort", () => listener.close());
    void this.#accept(listener.accept.bind(listener));
  }

  /** Ends all connections and lets the pods go; ztunnels go on serving them. Idempotent. */
  stop(): void {
    this.#stopped.abort();
    for (const connection of this.#connections) connection.close("the agent stops");
    for (const { netns } of this.#pods.values()) netns.close();
    this.#pods.clear();
    this.#wanted.clear();
  }

  /**
   * Puts a pod that an earlier agent handed over into the snapshots of the ztunnels to come: they end pods that a snapshot
   * leaves out. Throws `ZDS_BAD_POD`, or the kernel's code when the namespace cannot be opened.
   */
  hold(pod: CapturedPod): void {
    const served = { request: addRequest(pod), netns: openNetns(pod.netnsPath) };
    this.#pods.get(pod.uid)?.netns.close();
    this.#pods.set(pod.uid, served);
    this.#wanted.set(pod.uid, Symbol(pod.uid));
  }

  /**
   * Resolves when ztunnel has bound its listeners in the pod. Rejects with `ZDS_NO_ZTUNNEL`, `ZDS_REFUSED`, `ZDS_TIMEOUT` or
   * `ZDS_BAD_POD`, or with the kernel's code when the namespace cannot be opened; the pod is not handed to later ztunnels then.
   */
  async add(pod: CapturedPod): Promise<void> {
    const newest = this.#ztunnels.at(-1);
    if (newest === undefined) throw zdsError("ZDS_NO_ZTUNNEL", "No ztunnel is connected on this node");
    const served = { request: addRequest(pod), netns: openNetns(pod.netnsPath) };
    const token = Symbol(pod.uid);
    this.#wanted.set(pod.uid, token);
    try {
      await newest.request(() => ({ payload: served.request, fd: served.netns.fd }));
    } catch (error) {
      served.netns.close();
      throw error;
    }
    // Removed, or added again, while ztunnel answered.
    if (this.#wanted.get(pod.uid) !== token) return served.netns.close();
    this.#pods.get(pod.uid)?.netns.close();
    this.#pods.set(pod.uid, served);
    // One that said hello meanwhile had its snapshot without this pod.
    const after = this.#ztunnels.at(-1);
    if (after !== undefined && after !== newest) await after.request(() => this.#addOf(pod.uid, served));
  }

  /** Tells every ztunnel. Resolves when all have answered or are gone. Unknown uid: harmless. */
  async remove(uid: string): Promise<void> {
    const served = this.#pods.get(uid);
    this.#pods.delete(uid);
    this.#wanted.delete(uid);
    const payload = { case: "del", value: { uid } } as const;
    // A ztunnel that does not take it back loses its connection, and with the next snapshot the pod.
    await Promise.allSettled(this.#ztunnels.map((ztunnel) => ztunnel.request(() => ({ payload }))));
    served?.netns.close();
  }

  async #accept(accept: () => Promise<SeqpacketConnection | undefined>): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        const connection = await accept();
        if (connection === undefined) return;
        void this.#serve(connection);
      } catch (error) {
        this.#logger.warn("cannot accept ztunnel", { error: errorMessage(error) });
      }
      await delay(this.#clock, acceptPauseMs, signal).catch(() => {});
    }
  }

  /** Never rejects. */
  async #serve(connection: SeqpacketConnection): Promise<void> {
    const ztunnel = new ZtunnelConnection(connection, {
      clock: this.#clock,
      onClosed: (reason) => this.#forget(ztunnel, reason),
    });
    this.#connections.add(ztunnel);
    const refusal = this.#refusalOf(connection);
    if (refusal !== undefined) return ztunnel.close(refusal);
    try {
      await ztunnel.greet();
    } catch {
      // Closed, and its reason was logged.
      return;
    }
    // Before the snapshot is answered: from now on it hears of every change, after the snapshot.
    this.#ztunnels.push(ztunnel);
    await this.#sendSnapshot(ztunnel).catch(() => {});
  }

  #refusalOf(connection: SeqpacketConnection): string | undefined {
    if (this.#connections.size > maxConnections) return "there are too many ztunnels (ZDS_PEER)";
    try {
      const { uid } = connection.peer;
      return uid === process.getuid?.() ? undefined : `a process of user ${uid} may not speak ZDS (ZDS_PEER)`;
    } catch (error) {
      return errorMessage(error);
    }
  }

  async #sendSnapshot(ztunnel: ZtunnelConnection): Promise<void> {
    const adding = this.#sendAll(ztunnel);
    const finished = ztunnel.request(() => ({ payload: { case: "snapshotSent", value: {} } }));
    await Promise.all(adding);
    await finished;
    this.#logger.info("ztunnel connected", { pods: adding.length });
    this.#onChanged();
  }

  /** One promise a pod; they never reject. */
  #sendAll(ztunnel: ZtunnelConnection): Promise<void>[] {
    return [...this.#pods].map(async ([uid, served]) => {
      try {
        await ztunnel.request(() => this.#addOf(uid, served));
      } catch (error) {
        // It keeps trying pods that it could not take.
        this.#logger.warn("ztunnel did not take a pod", { uid, error: errorMessage(error) });
      }
    });
  }

  /** Undefined: the pod was removed or replaced before its turn came, and its namespace perhaps closed. */
  #addOf(uid: string, served: ServedPod): { readonly payload: ZdsRequest; readonly fd: number } | undefined {
    const current = this.#pods.get(uid) === served;
    return current ? { payload: served.request, fd: served.netns.fd } : undefined;
  }

  #forget(ztunnel: ZtunnelConnection, reason: string): void {
    this.#connections.delete(ztunnel);
    const index = this.#ztunnels.indexOf(ztunnel);
    const wasNewest = index >= 0 && index === this.#ztunnels.length - 1;
    if (index >= 0) this.#ztunnels.splice(index, 1);
    this.#logger.info("ztunnel disconnected", { reason });
    if (this.#stopped.signal.aborted) return;
    // Pods that came since a newer one connected were told to that one only: an update that was taken back.
    const newest = this.#ztunnels.at(-1);
    if (wasNewest && newest !== undefined) void Promise.all(this.#sendAll(newest));
    this.#onChanged();
  }
}

function addRequest({ uid, name, namespace, serviceAccount }: CapturedPod): ZdsRequest {
  const request = { case: "add", value: { uid, workloadInfo: { name, namespace, serviceAccount } } } as const;
  const { length } = encodeRequest(request);
  if (length <= maxRequestBytes) return request;
  throw zdsError("ZDS_BAD_POD", `Pod ${namespace}/${name} needs ${length} bytes in ZDS, more than ${maxRequestBytes}`);
}
