import type { Clock, Timer } from "@hairpin/shared/process";
import { createHttp2Session, type ByteChannel, type HeaderList, type Http2Session } from "@hairpin/wire";
import { Http1Client } from "../http/http1-client.ts";
import { HttpStreamError, type HttpStream } from "../http/http-stream.ts";
import { endpointKey, type Endpoint } from "./connect-endpoint.ts";

/** The HTTP version spoken to an application. */
export type UpstreamVersion = "http1" | "http2";

export interface HttpUpstreamsComponents {
  readonly clock: Clock;
  connect(endpoint: Endpoint): Promise<ByteChannel>;
}

/**
 * How long an idle HTTP/1.1 connection is kept. Shorter than the 5 s after which common servers (Node's) close theirs, so
 * that a request seldom meets a connection that is being closed.
 */
const http1IdleMs = 4000;
/** Idle HTTP/1.1 connections kept per endpoint. */
const maxIdlePerEndpoint = 64;
/** How long an HTTP/2 connection without requests is kept. */
const http2IdleMs = 60_000;

interface IdleConnection {
  readonly client: Http1Client;
  readonly timer: Timer;
}

/** Connections to applications: HTTP/1.1 ones reused one request at a time, HTTP/2 ones shared. */
export class HttpUpstreams {
  readonly #components: HttpUpstreamsComponents;
  readonly #idle = new Map<string, IdleConnection[]>();
  readonly #sessions = new Map<string, SharedSession>();
  readonly #open = new Set<Http1Client>();
  #closed = false;

  constructor(components: HttpUpstreamsComponents) {
    this.#components = components;
  }

  /** Connections open now, for the admin page and tests. */
  get size(): number {
    return this.#open.size + this.#sessions.size;
  }

  /**
   * Sends a request's head to an application and resolves with the stream, whose handler must be set in the same turn.
   * Rejects when no connection could be made; nothing was sent then.
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
    return client.request(headers, { endStream });
  }

  /** Closes all connections; requests under way are cut. */
  destroy(): void {
    this.#closed = true;
    for (const { timer } of [...this.#idle.values()].flat()) timer.cancel();
    for (const client of this.#open) client.destroy();
    for (const session of this.#sessions.values()) session.destroy();
  }

  #takeIdle(key: string): Http1Client | undefined {
    const idle = this.#idle.get(key);
    for (let next = idle?.pop(); next; next = idle?.pop()) {
      next.timer.cancel();
      if (idle?.length === 0) this.#idle.delete(key);
      if (next.client.idle) return next.client;
    }
    return undefined;
  }

  async #connectHttp1(key: string, endpoint: Endpoint): Promise<Http1Client> {
    const channel = await this.#components.connect(endpoint);
    const client: Http1Client = new Http1Client(channel, {
      onIdle: () => this.#putIdle(key, client),
      onClose: () => void this.#open.delete(client),
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
    const timer = this.#components.clock.setTimer(http1IdleMs, () => this.#dropIdle(key, client), { background: true });
    idle.push({ client, timer });
    this.#idle.set(key, idle);
  }

  #dropIdle(key: string, client: Http1Client): void {
    const left = (this.#idle.get(key) ?? []).filter((connection) => connection.client !== client);
    if (left.length > 0) this.#idle.set(key, left);
    else this.#idle.delete(key);
    client.destroy();
  }

  async #http2Request(key: string, endpoint: Endpoint, headers: HeaderList, endStream: boolean): Promise<HttpStream> {
    for (let attempt = 0; ; attempt++) {
      let shared = this.#sessions.get(key);
      if (!shared?.usable) {
        shared = new SharedSession(this.#components.connect(endpoint), this.#components.clock, () => {
          if (this.#sessions.get(key) === shared) this.#sessions.delete(key);
        });
        this.#sessions.set(key, shared);
      }
      const session = await shared.ready;
      // The session may have closed, or filled up, between its handshake and our turn.
      if (session.canOpenStream) return shared.request(session, headers, endStream);
      shared.retire();
      if (attempt === 2)
        throw new HttpStreamError("The application's HTTP/2 connection takes no request", {
          code: "HTTP_CONNECTION_CLOSED",
          retryable: true,
        });
    }
  }
}

/** One HTTP/2 connection to an application, shared by its requests; closed after a while without any. */
class SharedSession {
  readonly ready: Promise<Http2Session>;
  readonly #clock: Clock;
  readonly #onGone: () => void;
  #session: Http2Session | undefined;
  #idleTimer: Timer | undefined;
  #retired = false;

  constructor(channel: Promise<ByteChannel>, clock: Clock, onGone: () => void) {
    this.#clock = clock;
    this.#onGone = onGone;
    this.ready = channel.then(
      (connected) => this.#start(connected),
      (error: unknown) => {
        this.retire();
        throw error;
      },
    );
  }

  get usable(): boolean {
    return !this.#retired && (this.#session === undefined || this.#session.canOpenStream);
  }

  request(session: Http2Session, headers: HeaderList, endStream: boolean): HttpStream {
    this.#idleTimer?.cancel();
    return session.request(headers, { endStream });
  }

  /** Takes no further requests; those under way go on. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#idleTimer?.cancel();
    this.#onGone();
    this.#session?.shutdown();
  }

  destroy(): void {
    this.#session?.destroy();
  }

  #start(channel: ByteChannel): Http2Session {
    const session = createHttp2Session({
      role: "client",
      channel,
      options: {
        initialWindowSize: 1024 * 1024,
        connectionWindowSize: 4 * 1024 * 1024,
        maxHeaderListBytes: 64 * 1024,
        maxHeaderCount: 256,
      },
      handler: {
        onGoaway: () => this.retire(),
        onStreamClosed: () => this.#watchIdle(session),
        onClose: () => this.retire(),
      },
    });
    this.#session = session;
    return session;
  }

  #watchIdle(session: Http2Session): void {
    this.#idleTimer?.cancel();
    if (session.stats.openStreams === 0)
      this.#idleTimer = this.#clock.setTimer(http2IdleMs, () => this.retire(), { background: true });
  }
}
