import type { Identity } from "@hairpin/shared/model";
import { errorMessage, type Clock } from "@hairpin/shared/process";
import {
  createHttp2Session,
  ErrorCode,
  findHeader,
  Http2Error,
  type HeaderField,
  type HeaderList,
  type Http2Session,
  type SecureChannel,
} from "@hairpin/wire";
import { HboneError } from "./errors.ts";
import type { TunnelDialerOptions } from "./options.ts";
import type { VerifiedPeer } from "./peer-identity.ts";
import type { SessionMetrics } from "./session-metrics.ts";
import { SessionWatch } from "./session-watch.ts";
import type { PooledSession } from "./session-pool.ts";
import { StreamTunnel, type Tunnel } from "./tunnel.ts";

/** What to ask the other proxy for. */
export interface ConnectRequest {
  /** `ip:port` or `host:port`. */
  readonly authority: string;
  /** Ordinary fields (forwarded, baggage, traceparent, …); the pseudo-header fields are added. */
  readonly headers: HeaderList;
}

/** One mTLS HTTP/2 connection that we dialled, carrying tunnels. */
export class TunnelSession implements PooledSession {
  readonly peerIdentity: Identity;
  onTunnelClosed: (() => void) | undefined;
  onUnusable: (() => void) | undefined;
  readonly #session: Http2Session;
  readonly #clock: Clock;
  readonly #options: TunnelDialerOptions;
  #openTunnels = 0;
  #unusable = false;

  /** Takes over the channel, whose peer has been verified. */
  constructor(
    channel: SecureChannel,
    peer: VerifiedPeer,
    components: { readonly clock: Clock; readonly metrics?: SessionMetrics },
    options: TunnelDialerOptions,
  ) {
    const { clock, metrics } = components;
    this.peerIdentity = peer.identity;
    this.#clock = clock;
    this.#options = options;
    this.#session = createHttp2Session({
      role: "client",
      channel,
      options: { ...options.http2, now: () => clock.now() },
      handler: {
        onSettings: () => watch.onSettings(),
        onHeaderBlock: (open) => watch.onHeaderBlock(open),
        ...metrics?.sessionHandler("upstream", "tunnels"),
        onGoaway: () => this.#becomeUnusable(),
        onClose: (error) => {
          watch.stop();
          metrics?.sessionClosed("upstream", error);
          this.#becomeUnusable();
        },
      },
    });
    const drain = (): void => this.close();
    const watched = { session: this.#session, side: "upstream", expiresAt: peer.expiresAt, drain } as const;
    const watch = new SessionWatch(watched, clock, options);
  }

  get openTunnels(): number {
    return this.#openTunnels;
  }

  get capacity(): number {
    if (this.#unusable || this.#session.closing) return 0;
    return Math.min(this.#options.maxTunnelsPerSession, this.#session.stats.peerMaxConcurrentStreams);
  }

  /**
   * Sends a CONNECT and resolves once it was answered 200. Rejects with {@link HboneError}: `HBONE_CONNECT_REFUSED`
   * (another status), `HBONE_STREAM_REFUSED` (not processed; retryable), `HBONE_STREAM_RESET`, `HBONE_SESSION_CLOSED`,
   * `HBONE_CONNECT_TIMEOUT`. The stream is opened before this returns.
   */
  open(request: ConnectRequest): Promise<Tunnel> {
    const head: HeaderField[] = [
      { name: ":method", value: "CONNECT" },
      { name: ":authority", value: request.authority },
      ...request.headers,
    ];
    return new Promise((resolve, reject) => {
      let stream;
      try {
        stream = this.#session.request(head);
      } catch (error) {
        reject(streamError(error, request.authority));
        return;
      }
      this.#openTunnels++;
      const tunnel = new StreamTunnel(stream, this.peerIdentity, [], () => this.#tunnelClosed());
      const timer = this.#clock.setTimer(this.#options.responseTimeoutMs, () => {
        const message = `CONNECT to ${request.authority} was not answered within ${this.#options.responseTimeoutMs} ms`;
        settle(() => reject(new HboneError(message, { code: "HBONE_CONNECT_TIMEOUT", origin: "upstream" })));
        stream.reset(ErrorCode.CANCEL);
      });
      const settle = (finish: () => void): void => {
        timer.cancel();
        tunnel.onAnswer = undefined;
        tunnel.onFailure = undefined;
        finish();
      };
      tunnel.onFailure = (error) => settle(() => reject(streamError(error, request.authority)));
      tunnel.onAnswer = (headers) => {
        const status = findHeader(headers, ":status") ?? "";
        if (status === "200") {
          settle(() => resolve(tunnel));
          return;
        }
        settle(() => reject(connectRefused(request.authority, status)));
        stream.reset(ErrorCode.CANCEL);
      };
    });
  }

  close(): void {
    this.#becomeUnusable();
    this.#session.shutdown();
  }

  destroy(error: Error): void {
    this.#becomeUnusable();
    this.#session.destroy(error);
  }

  #tunnelClosed(): void {
    this.#openTunnels--;
    this.onTunnelClosed?.();
  }

  #becomeUnusable(): void {
    if (this.#unusable) return;
    this.#unusable = true;
    this.onUnusable?.();
  }
}

function connectRefused(authority: string, status: string): HboneError {
  const message = `http status: ${formatStatus(status)}`;
  return new HboneError(message, {
    code: "HBONE_CONNECT_REFUSED",
    origin: "upstream",
    details: { authority, status: Number(status) },
  });
}

const statusWords: Readonly<Record<string, string>> = {
  "400": "Bad Request",
  "401": "Unauthorized",
  "403": "Forbidden",
  "404": "Not Found",
  "500": "Internal Server Error",
  "503": "Service Unavailable",
};

/** `401 Unauthorized`, the words of ztunnel's access log. */
function formatStatus(status: string): string {
  const words = statusWords[status];
  return words === undefined ? status : `${status} ${words}`;
}

function streamError(error: unknown, authority: string): HboneError {
  const refused =
    error instanceof Http2Error &&
    (error.retryable || error.code === "HTTP2_SESSION_CLOSING" || error.code === "HTTP2_STREAM_LIMIT");
  const code = refused
    ? "HBONE_STREAM_REFUSED"
    : error instanceof Http2Error && error.code === "HTTP2_STREAM_RESET"
      ? "HBONE_STREAM_RESET"
      : "HBONE_SESSION_CLOSED";
  const reason = error === undefined ? "the stream ended without an answer" : errorMessage(error);
  return new HboneError(`CONNECT to ${authority} failed: ${reason}`, {
    code,
    origin: "upstream",
    retryable: refused,
    cause: error,
  });
}
