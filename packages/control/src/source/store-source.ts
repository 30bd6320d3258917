// Watches the local mesh's object store: HTTP over a unix socket, one JSON object a line.

import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { type Clock, type Timer, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import type { ObjectCollection } from "../collection/object-collection.ts";
import { objectKey } from "../collection/kind.ts";
import { ControlError } from "../errors.ts";
import { readLines } from "@hairpin/shared/kubernetes";
import type { ObjectSource } from "./object-source.ts";

const firstRetryMs = 20;
const maxRetryMs = 2000;

type WatchEvent =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: KubernetesObject }
  | { readonly type: "SYNCED" };

/**
 * Keeps a collection in step with the store. After a lost connection it lists anew: objects that are missing at SYNCED are
 * deleted then, and until then everything stays as it was.
 * States: connecting -SYNCED-> live -end-> waiting -timer-> connecting; stop ends any of them.
 */
export class StoreSource implements ObjectSource {
  readonly name: string;
  readonly #socketPath: string;
  readonly #objects: ObjectCollection;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #request: ClientRequest | undefined;
  #retry: Timer | undefined;
  #retryMs = firstRetryMs;
  #stopped = false;

  constructor(
    components: { readonly objects: ObjectCollection; readonly clock: Clock; readonly logger: Logger },
    options: { readonly socketPath: string },
  ) {
    this.name = `store:${options.socketPath}`;
    this.#socketPath = options.socketPath;
    this.#objects = components.objects;
    this.#clock = components.clock;
    this.#logger = components.logger;
  }

  async start(): Promise<void> {
    void this.#connect();
    await Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#retry?.cancel();
    this.#request?.destroy();
    await Promise.resolve();
  }

  async #connect(): Promise<void> {
    try {
      await this.#watch(await this.#open());
      throw new ControlError("STORE_WATCH_FAILED", "The store ended the watch", { origin: "upstream" });
    } catch (error) {
      if (this.#stopped) return;
      this.#logger.warn("store watch lost", { source: this.name, retryMs: this.#retryMs, error: errorMessage(error) });
      this.#retry = this.#clock.setTimer(this.#retryMs, () => void this.#connect());
      this.#retryMs = Math.min(this.#retryMs * 2, maxRetryMs);
    }
  }

  async #open(): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    this.#request = request({ socketPath: this.#socketPath, path: "/v1/watch", agent: false }, resolve);
    this.#request.once("error", reject);
    this.#request.end();
    const response = await promise;
    if (response.statusCode === 200) return response;
    response.destroy();
    throw new ControlError("STORE_WATCH_FAILED", `The store answered ${response.statusCode ?? "nothing"}`, {
      origin: "upstream",
    });
  }

  async #watch(response: IncomingMessage): Promise<void> {
    const listed = new Map<string, KubernetesObject>();
    let synced = false;
    for await (const line of readLines(response)) {
      const event = parseEvent(line);
      if (event.type === "SYNCED") {
        this.#objects.replaceAll(listed.values());
        listed.clear();
        synced = true;
        this.#retryMs = firstRetryMs;
        this.#logger.info("objects synced", { source: this.name, objects: this.#objects.size });
      } else if (!synced) {
        const key = `${event.object.apiVersion}/${event.object.kind}/${objectKey(event.object)}`;
        if (event.type === "DELETED") listed.delete(key);
        else listed.set(key, event.object);
      } else if (event.type === "DELETED") this.#objects.remove(event.object);
      else this.#objects.put(event.object);
    }
  }
}

/** Throws `STORE_WATCH_FAILED` for a line that is no event: what it meant to say is lost, so the watch starts over. */
function parseEvent(line: string): WatchEvent {
  try {
    const event = JSON.parse(line) as WatchEvent;
    if (event.type === "SYNCED") return event;
    const { apiVersion, kind, metadata } = event.object;
    if (typeof apiVersion === "string" && typeof kind === "string" && typeof metadata.name === "string") return event;
  } catch (cause) {
    throw new ControlError("STORE_WATCH_FAILED", "The store sent a line that is not JSON", {
      cause,
      origin: "upstream",
    });
  }
  throw new ControlError("STORE_WATCH_FAILED", "The store sent an object without apiVersion, kind or name", {
    origin: "upstream",
  });
}
