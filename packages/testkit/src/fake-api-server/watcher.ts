import type { ServerResponse } from "node:http";
import { ApiRefusal } from "./refusal.ts";
import type { ObjectStore, StoreEvent } from "./object-store.ts";
import type { Matcher } from "./selector.ts";
import type { ServedKind } from "./served-kind.ts";
import type { StoredObject } from "./stored-object.ts";

export interface WatchRequest {
  readonly served: ServedKind;
  readonly apiVersion: string;
  readonly revision: number;
  readonly bookmarks: boolean;
  readonly matches: Matcher;
}

/** One watch: an answer that does not end, one JSON event a line. */
export class Watcher {
  readonly served: ServedKind;
  readonly #response: ServerResponse;
  readonly #request: WatchRequest;
  #silent = false;

  constructor(response: ServerResponse, request: WatchRequest) {
    this.served = request.served;
    this.#response = response;
    this.#request = request;
  }

  /** Sends what happened since the watch's revision; an expired one ends it with 410, as the real server does. */
  start(store: ObjectStore): void {
    this.#response.writeHead(200, { "content-type": "application/json" });
    this.#response.flushHeaders();
    const missed = store.since(this.#request.revision);
    if (missed === undefined) {
      this.fail(new ApiRefusal(410, "Expired", `too old resource version: ${this.#request.revision}`));
      return;
    }
    for (const event of missed) this.deliver(event);
  }

  deliver({ served, type, object, before }: StoreEvent): void {
    if (served !== this.served) return;
    const { matches } = this.#request;
    const was = before !== undefined && matches(before);
    const is = type !== "DELETED" && matches(object);
    if (is) this.#send(was ? "MODIFIED" : "ADDED", object);
    else if (was) this.#send("DELETED", object);
  }

  bookmark(revision: number): void {
    if (!this.#request.bookmarks) return;
    const { kind } = this.served;
    this.#write({
      type: "BOOKMARK",
      object: { apiVersion: this.#request.apiVersion, kind, metadata: { resourceVersion: String(revision) } },
    });
  }

  /** An ERROR event, then the end. */
  fail(refusal: ApiRefusal): void {
    this.#write({ type: "ERROR", object: refusal.toStatus() });
    this.end();
  }

  /** Stays open and says nothing more, as when a connection is lost without a word. */
  silence(): void {
    this.#silent = true;
  }

  end(): void {
    this.#silent = true;
    this.#response.end();
  }

  /** Cuts the connection. */
  drop(): void {
    this.#response.destroy();
  }

  /** A piece of a line, then the connection is cut. */
  dropMidLine(): void {
    this.#response.write('{"type":"MODIFIED","object":{"api');
    this.#response.socket?.destroySoon();
  }

  #send(type: string, object: StoredObject): void {
    this.#write({ type, object: { ...object, apiVersion: this.#request.apiVersion } });
  }

  #write(event: unknown): void {
    if (!this.#silent) this.#response.write(`${JSON.stringify(event)}\n`);
  }
}
