// The HTTP API of the object store on a unix socket: control, the commands and tests use it.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { chmodSync } from "node:fs";
import { findKindByName } from "../object/kinds.ts";
import type { AppliedObject, ObjectApplier } from "./apply-objects.ts";
import type { ObjectStore } from "./object-store.ts";
import type { StatusUpdate, StatusWriter } from "./object-status.ts";

export interface StoreServerParts {
  readonly store: ObjectStore;
  readonly applier: ObjectApplier;
  readonly statusWriter: StatusWriter;
  /** May the process at the other end of this connection use the store? */
  readonly isAllowedPeer: (socket: Socket) => boolean;
  /** Further routes, such as logs: `GET /v1/logs`. */
  readonly routes?: ReadonlyMap<string, StoreRoute>;
}

export type StoreRoute = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void> | void;

/** Largest request body, in bytes. */
const maxBodyBytes = 16 * 1024 * 1024;
/** A watcher that lets this much pile up is cut; it connects again and starts from a snapshot. */
const maxWatchBacklogBytes = 64 * 1024 * 1024;

export class StoreServer {
  readonly #parts: StoreServerParts;
  readonly #routes: ReadonlyMap<string, StoreRoute>;
  readonly #server: Server;

  constructor(parts: StoreServerParts) {
    this.#parts = parts;
    this.#routes = new Map<string, StoreRoute>([
      ["GET /v1/watch", (request, response) => this.#watch(request, response)],
      ["GET /v1/objects", (_request, response, url) => this.#objects(response, url)],
      ["POST /v1/apply", (request, response) => this.#change(request, response, "apply")],
      ["POST /v1/delete", (request, response) => this.#change(request, response, "delete")],
      ["POST /v1/status", (request, response) => this.#status(request, response)],
      ...(parts.routes ?? []),
    ]);
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.on("connection", (socket: Socket) => {
      if (!parts.isAllowedPeer(socket)) socket.destroy();
    });
  }

  /** Listens on the unix socket, readable by its owner only. */
  async listen(path: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen(path, resolve);
    await promise;
    chmodSync(path, 0o600);
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://store");
    const route = this.#routes.get(`${request.method} ${url.pathname}`);
    try {
      if (route === undefined) sendJson(response, 404, { error: `no route ${request.method} ${url.pathname}` });
      else await route(request, response, url);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (response.headersSent) response.destroy();
      else sendJson(response, error instanceof RequestMistake ? 400 : 500, { error: message });
    }
  }

  #watch(request: IncomingMessage, response: ServerResponse): void {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    const send = (line: unknown): void => {
      response.write(`${JSON.stringify(line)}\n`);
      if (response.writableLength > maxWatchBacklogBytes) response.destroy();
    };
    for (const object of this.#parts.store.all()) send({ type: "ADDED", object });
    send({ type: "SYNCED" });
    const stop = this.#parts.store.onChange(send);
    request.once("close", stop);
    response.once("close", stop);
  }

  #objects(response: ServerResponse, url: URL): void {
    const kindName = url.searchParams.get("kind");
    const namespace = url.searchParams.get("namespace") ?? undefined;
    const kind = kindName === null ? undefined : findKindByName(kindName);
    if (kindName !== null && kind === undefined) throw new RequestMistake(`unknown kind ${JSON.stringify(kindName)}`);
    const all = kind === undefined ? this.#parts.store.all() : this.#parts.store.list(kind);
    const items = all.filter((object) => namespace === undefined || object.metadata.namespace === namespace);
    sendJson(response, 200, { items });
  }

  async #change(request: IncomingMessage, response: ServerResponse, verb: "apply" | "delete"): Promise<void> {
    const body = await readJson(request);
    const objects = (body as { objects?: unknown }).objects;
    if (!Array.isArray(objects) || !objects.every(isAppliedObject))
      throw new RequestMistake("the body must be { objects: [{ object, origin: { file, line } }] }");
    const outcome = this.#parts.applier[verb](objects);
    if (outcome.errors.length > 0) sendJson(response, 422, { errors: outcome.errors });
    else sendJson(response, 200, { results: outcome.results });
  }

  async #status(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readJson(request);
    if (!isStatusUpdate(body)) throw new RequestMistake("the body must name apiVersion, kind, name and manager");
    const found = this.#parts.statusWriter.write(body) !== "not found";
    sendJson(response, found ? 200 : 404, found ? {} : { error: `no ${body.kind} ${body.name}` });
  }
}

class RequestMistake extends Error {}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBodyBytes) throw new RequestMistake(`the body is larger than ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) ?? {};
  } catch (error) {
    throw new RequestMistake(`the body is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function isAppliedObject(value: unknown): value is AppliedObject {
  if (typeof value !== "object" || value === null) return false;
  const { object, origin } = value as Partial<AppliedObject>;
  if (typeof object !== "object" || object === null || typeof origin !== "object" || origin === null) return false;
  return (
    typeof object.apiVersion === "string" &&
    typeof object.kind === "string" &&
    typeof object.metadata === "object" &&
    object.metadata !== null &&
    typeof object.metadata.name === "string" &&
    typeof origin.file === "string" &&
    typeof origin.line === "number"
  );
}

function isStatusUpdate(value: unknown): value is StatusUpdate {
  if (typeof value !== "object" || value === null) return false;
  const { apiVersion, kind, name, manager, conditions } = value as Partial<StatusUpdate>;
  return (
    [apiVersion, kind, name, manager].every((field) => typeof field === "string") &&
    (conditions === undefined || Array.isArray(conditions))
  );
}
