import type { SessionMetrics } from "@hairpin/hbone";
import { errorMessage, type Clock, type Timer } from "@hairpin/shared/process";
import { Http1Error, Http2Error, type ByteChannel, type HeaderList } from "@hairpin/wire";
import { Http1Client } from "../http/http1-client.ts";
import { HttpStreamError, type HttpStream } from "../http/http-stream.ts";
import { endpointKey, type Endpoint } from "./connect-endpoint.ts";
import { SharedSession } from "./shared-session.ts";

/** The HTTP version spoken to an application. */
export type UpstreamVersion = "http1" | "http2";

export interface HttpUpstreamsComponents {
  readonly clock: Clock;
  readonly metrics: SessionMetrics;
  connect(endpoint: Endpoint): Promise<ByteChannel>;
}

/**
 * How long an idle HTTP/1.1 connection is kept. Shorter than the 5 s after which common servers (Node's) close theirs, so
 * that a request seldom meets a connection that is being closed.
 */
const http1IdleMs = 4000;
/** Idle HTTP/1.1 connections kept per endpoint. */
const maxIdlePerEndpoint = 64;
/** Sessions tried for one request: each may fill up or close between its choice and the request's turn. */
const maxSessionAttempts = 10;

/** How often idle connections are looked through, by one timer for all: one for each request would cost as much as its parsing. */
const sweepMs = 500;

interface IdleConnection {
  readonly client: Http1Client;
  readonly sinceMs: number;
}

/** Connections to applications: HTTP/1.1 ones reused one request at a time, HTTP/2 ones shared. */
export class HttpUpstreams {
  readonly #components: HttpUpstreamsComponents;
  readonly #idle = new Map<string, IdleConnection[]>();
  readonly #open = new Set<Http1Client>();
  readonly #sessions = new Map<string, Set<SharedSession>>();
  #sweep: Timer | undefined;
  #closed = false;

  constructor(components: HttpUpstreamsComponents) {
    this.#components = components;
  }

  /** Connections open now, for the admin page and tests. */
  get size(): number {
    let sessions = 0;
    for (const ofEndpoint of this.#sessions.values()) sessions += ofEndpoint.size;
    return this.#open.size + sessions;
  }

  /**
   * As {@link request}, at once, if a connection is there that can take it; undefined otherwise. Throws what `request`
   * rejects with. Nearly every request goes this way.
   */
  requestNow(
    endpoint: Endpoint,
    version: UpstreamVersion,
    headers: HeaderList,
    endStream: boolean,
  ): HttpStream | undefined {
    if (version === "http2" || this.#closed) return undefined;
    const key = endpointKey(endpoint);
    const client = this.#takeIdle(key);
    return client && this.#http1Request(client, key, headers, endStream);
  }

  /**
   * Sends a request's head to an application and resolves with the stream, whose handler must be set in the same turn.
   * Rejects when no connection could be made, and with HttpStreamError `HTTP_BAD_MESSAGE` when the head cannot be expressed
   * in that version; nothing was sent then.
   */
  async request(
    endpoint: Endpoint,
    version: UpstreamVersion,
    headers: HeaderList,
    endStream: boolean,
  ): Promise<HttpStream> {
    if (this.#closed) throw new HttpStreamError("The waypoint is shutting down", { code: "HTTP_CONNECTION_CLOSED" });
    const key = endpointKey(endpoint);
    if (version === "http2") return await this.#http2Request(key, endpoint, headers, endStream);
    const client = this.#takeIdle(key) ?? (await this.#connectHttp1(key, endpoint));
    return this.#http1Request(client, key, headers, endStream);
  }

  #http1Request(client: Http1Client, key: string, headers: HeaderList, endStream: boolean): HttpStream {
    try {
      return client.request(headers, { endStream });
    } catch (error) {
      if (client.idle) this.#putIdle(key, client);
      throw badHead(error);
    }
  }

  /** Closes all connections; requests under way are cut. */
  destroy(): void {
    this.#closed = true;
    this.#sweep?.cancel();
    for (const client of this.#open) client.destroy();
    for (const session of [...this.#sessions.values()].flatMap((sessions) => [...sessions])) session.destroy();
  }

  #takeIdle(key: string): Http1Client | undefined {
    const idle = this.#idle.get(key);
    if (!idle) return undefined;
    // The one used last is the one least likely to be closed by the application.
    for (let last = idle.pop(); last; last = idle.pop()) if (last.client.idle) return last.client;
    return undefined;
  }

  async #connectHttp1(key: string, endpoint: Endpoint): Promise<Http1Client> {
    const channel = await this.#components.connect(endpoint);
    if (this.#closed) {
      channel.setHandler(ignoreAll);
      channel.destroy();
      throw new HttpStreamError("The waypoint is shutting down", { code: "HTTP_CONNECTION_CLOSED" });
    }
    const client: Http1Client = new Http1Client(channel, {
      onIdle: () => this.#putIdle(key, client),
      onClose: () => {
        this.#open.delete(client);
        this.#dropIdle(key, client);
      },
    });
    this.#open.add(client);
    return client;
  }

  #putIdle(key: string, client: Http1Client): void {
    const idle = this.#idle.get(key) ?? [];
    if (this.#closed || idle.length >= maxIdlePerEndpoint) {
      client.destroy();
      return;
    }
    if (idle.length === 0) this.#idle.set(key, idle);
    const { clock } = this.#components;
    idle.push({ client, sinceMs: clock.now() });
    this.#sweep ??= clock.setTimer(sweepMs, () => this.#closeIdle(), { background: true });
  }

  /** Closes what was idle for long. */
  #closeIdle(): void {
    const { clock } = this.#components;
    const now = clock.now();
    for (const [key, idle] of this.#idle) {
      const kept = idle.filter(({ sinceMs }) => now - sinceMs < http1IdleMs);
      if (kept.length === 0) this.#idle.delete(key);
      else this.#idle.set(key, kept);
      for (const connection of idle) if (!kept.includes(connection)) connection.client.destroy();
    }
    this.#sweep =
      this.#idle.size === 0 ? undefined : clock.setTimer(sweepMs, () => this.#closeIdle(), { background: true });
  }

  #dropIdle(key: string, client: Http1Client): void {
    const idle = this.#idle.get(key);
    const at = idle?.findIndex((connection) => connection.client === client) ?? -1;
    if (!idle || at < 0) return;
    idle.splice(at, 1);
  }

  async #http2Request(key: string, endpoint: Endpoint, headers: HeaderList, endStream: boolean): Promise<HttpStream> {
    for (let attempt = 0; attempt < maxSessionAttempts; attempt++) {
      const shared = this.#sessionWithRoom(key) ?? this.#startSession(key, endpoint);
      const session = await shared.whenConnected();
      if (!session.canOpenStream) continue;
      try {
        return shared.request(session, headers, endStream);
      } catch (error) {
        throw badHead(error);
      }
    }
    throw new HttpStreamError("The application's HTTP/2 connections take no request", {
      code: "HTTP_CONNECTION_CLOSED",
      retryable: true,
    });
  }

  #sessionWithRoom(key: string): SharedSession | undefined {
    for (const session of this.#sessions.get(key) ?? []) if (session.hasRoom) return session;
    return undefined;
  }

  #startSession(key: string, endpoint: Endpoint): SharedSession {
    const sessions = this.#sessions.get(key) ?? new Set();
    const session: SharedSession = new SharedSession(
      { ...this.#components, channel: this.#components.connect(endpoint) },
      () => {
        sessions.delete(session);
        if (sessions.size === 0 && this.#sessions.get(key) === sessions) this.#sessions.delete(key);
      },
    );
    sessions.add(session);
    this.#sessions.set(key, sessions);
    return session;
  }
}

const ignoreAll = { onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} };

/** A head that no application of this version can be sent: the same for every endpoint, so it is not tried again. */
function badHead(error: unknown): unknown {
  const cannotBeSaid =
    error instanceof Http1Error || (error instanceof Http2Error && error.code === "HTTP2_INVALID_HEADERS");
  if (!cannotBeSaid) return error;
  const message = `The request cannot be sent to the application: ${errorMessage(error)}`;
  return new HttpStreamError(message, { code: "HTTP_BAD_MESSAGE", cause: error });
}
