import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, isIP } from "node:net";
import { promisify } from "node:util";
import { brotliCompress, constants as zlib, gzip, zstdCompress } from "node:zlib";
import { errorMessage } from "../process/mesh-error.ts";
import type { Logger } from "./logger.ts";

export interface AdminRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface AdminResponse {
  /** Default 200. */
  readonly status?: number;
  /** Default `text/plain; charset=utf-8`. */
  readonly contentType?: string;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What it throws becomes a 500 without details, and an error line. */
export type AdminHandler = (request: AdminRequest) => AdminResponse | Promise<AdminResponse>;

/** `GET /config_dump` → handler. A GET route answers HEAD too. */
export type AdminRoutes = ReadonlyMap<string, AdminHandler>;

export interface AdminServerOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly routes: AdminRoutes;
  readonly logger: Logger;
  /** Accept any Host header: only for ports that hold nothing secret and change nothing. Default false. */
  readonly anyHost?: boolean;
}

export interface AdminServer {
  readonly address: AddressInfo;
  /** Ends open connections too. Idempotent. */
  close(): Promise<void>;
}

/** As ztunnel's hyper servers. */
const headerTimeoutMs = 2_000;
const maxHeaderBytes = 8 * 1024;
const requestTimeoutMs = 10_000;
const maxConnections = 64;
const minCompressedBytes = 1_024;

/**
 * Serves the routes over HTTP/1.1. Bodies of requests are not read. A Host other than localhost or the address that was dialled
 * gets 403: a web page that rebinds its name to 127.0.0.1 must not reach the admin port. Rejects with Node's error when it
 * cannot listen.
 */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const server = createServer(
    {
      headersTimeout: headerTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 500,
      maxHeaderSize: maxHeaderBytes,
      insecureHTTPParser: false,
    },
    (request, response) => void answer(request, response, options),
  );
  server.maxConnections = maxConnections;
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen(options.port, options.host, listening.resolve);
  await listening.promise;
  server.off("error", listening.reject);
  server.on("error", (error) => options.logger.error("admin server failed", { error }));
  return { address: addressOf(server), close: () => closeServer(server) };
}

async function answer(request: IncomingMessage, response: ServerResponse, options: AdminServerOptions): Promise<void> {
  let result: AdminResponse;
  try {
    result = await route(request, options);
  } catch (error) {
    options.logger.error("admin request failed", { path: request.url, error: errorMessage(error) });
    result = { status: 500, body: "internal error\n" };
  }
  try {
    await send(request, response, result);
  } catch (error) {
    options.logger.debug("admin response not sent", { path: request.url, error: errorMessage(error) });
    response.destroy();
  }
}

async function route(request: IncomingMessage, options: AdminServerOptions): Promise<AdminResponse> {
  if (options.anyHost !== true && !isOwnHost(request)) return { status: 403, body: "forbidden host\n" };
  const [path, query] = splitTarget(request.url ?? "/");
  const method = request.method === "HEAD" ? "GET" : (request.method ?? "");
  const handler = options.routes.get(`${method} ${path}`);
  if (handler !== undefined)
    return await handler({ method, path, query: new URLSearchParams(query), headers: request.headers });
  const allowed = [...options.routes.keys()].filter((key) => key.endsWith(` ${path}`)).map((key) => key.split(" ")[0]);
  if (allowed.length === 0) return { status: 404, body: "not found\n" };
  return { status: 405, body: "method not allowed\n", headers: { allow: allowed.join(", ") } };
}

/** Origin form only; what follows the first `?` is the query. */
function splitTarget(target: string): [string, string] {
  const mark = target.indexOf("?");
  return mark < 0 ? [target, ""] : [target.slice(0, mark), target.slice(mark + 1)];
}

function isOwnHost(request: IncomingMessage): boolean {
  const host = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::[0-9]{1,5})?$/.exec(request.headers.host ?? "");
  const name = (host?.[1] ?? host?.[2] ?? "").toLowerCase();
  if (name === "localhost" || name === "127.0.0.1" || name === "::1") return true;
  const local = (request.socket.localAddress ?? "").replace(/^::ffff:(?=[0-9]+\.)/, "");
  return isIP(name) !== 0 && name === local;
}

async function send(request: IncomingMessage, response: ServerResponse, result: AdminResponse): Promise<void> {
  let body = typeof result.body === "string" ? Buffer.from(result.body) : result.body;
  response.setHeader("content-type", result.contentType ?? "text/plain; charset=utf-8");
  response.setHeader("vary", "accept-encoding");
  // A browser must neither guess a type nor run or frame what a peer's name put into a dump.
  response.setHeader("x-content-type-options", "nosniff");
  response.setHeader("cache-control", "no-store");
  for (const [name, value] of Object.entries(result.headers ?? {})) response.setHeader(name, value);
  const encoding = body.length < minCompressedBytes ? undefined : chooseEncoding(request);
  if (encoding !== undefined) {
    body = await compressors[encoding](body);
    response.setHeader("content-encoding", encoding);
  }
  response.setHeader("content-length", body.length);
  // An unread body would be taken for the next request's head.
  if (request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined)
    response.setHeader("connection", "close");
  response.writeHead(result.status ?? 200);
  response.end(body);
}

const compressBrotli = promisify<Uint8Array, object, Buffer>(brotliCompress);

/** What ztunnel compresses with, the best known first. Brotli's default quality would take a second for a large dump. */
const compressors = {
  gzip: promisify<Uint8Array, Buffer>(gzip),
  zstd: promisify<Uint8Array, Buffer>(zstdCompress),
  br: async (body: Uint8Array) => await compressBrotli(body, { params: { [zlib.BROTLI_PARAM_QUALITY]: 4 } }),
} as const;
const encodings = ["gzip", "zstd", "br"] as const;

function chooseEncoding(request: IncomingMessage): keyof typeof compressors | undefined {
  const accepted = (request.headers["accept-encoding"] ?? "")
    .toLowerCase()
    .split(",")
    .map((part) => part.split(";").map((word) => word.trim()))
    .filter(([, weight = ""]) => !/^q=0(?:\.0*)?$/.test(weight))
    .map(([name]) => name);
  return encodings.find((name) => accepted.includes(name));
}

function addressOf(server: Server): AddressInfo {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The admin server has no TCP address");
  return address;
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  server.closeAllConnections();
  await closed.promise;
}
