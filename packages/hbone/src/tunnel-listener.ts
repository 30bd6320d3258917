import type { Socket } from "node:net";
import type { Identity } from "@hairpin/shared/model";
import { errorMessage, type Clock } from "@hairpin/shared/process";
import {
  createHttp2Session,
  ErrorCode,
  findHeader,
  type HeaderList,
  type Http2Session,
  type Http2Stream,
  type SecureChannel,
  type TlsContext,
  type TlsEngine,
} from "@hairpin/wire";
import { HboneError } from "./errors.ts";
import { watchLiveness } from "./liveness.ts";
import type { TunnelListenerOptions } from "./options.ts";
import { readPeerIdentity, requireTrustDomain } from "./peer-identity.ts";
import { StreamTunnel, type Tunnel } from "./tunnel.ts";

/** A request on an accepted session, not yet answered. Answer it once, by `accept` or `refuse`. */
export interface InboundConnect {
  readonly method: string;
  /** Empty when the request had none. */
  readonly authority: string;
  readonly headers: HeaderList;
  readonly peerIdentity: Identity;
  /** True once the peer gave up waiting; an answer goes nowhere then. */
  readonly closed: boolean;
  /** Answers 200 and hands over the tunnel. Call it only after the upstream is connected. */
  accept(headers?: HeaderList): Tunnel;
  /** Answers with another status and no body. */
  refuse(status: number, headers?: HeaderList): void;
  /** Resets the stream without an answer, as Envoy waypoints do with authorities that are not theirs. */
  abort(): void;
}

export interface TunnelListenerComponents {
  readonly tls: TlsEngine;
  readonly clock: Clock;
}

export interface AcceptRequest {
  /** Raw, as wire's `listenTcp` gives it; taken over whatever happens. */
  readonly socket: Socket;
  readonly context: TlsContext;
  /** Peers of other trust domains are refused. */
  readonly trustDomain: string;
  readonly onConnect: (request: InboundConnect) => void;
}

/** A session that a peer dialled. */
export interface InboundTunnelSession {
  readonly peerIdentity: Identity;
  readonly openTunnels: number;
  /** Resolves when the connection is gone: undefined after a graceful end. */
  readonly whenClosed: Promise<Error | undefined>;
  /** Tells the peer to open no more tunnels (GOAWAY); those that are open go on. */
  drain(): void;
  destroy(error: Error): void;
}

/**
 * Does the TLS handshake on an accepted socket, checks who the peer is, and serves its requests until the session ends.
 * Rejects with {@link HboneError} `HBONE_HANDSHAKE_FAILED` or `HBONE_PEER_IDENTITY`; the socket is closed then.
 */
export async function acceptTunnelSession(
  components: TunnelListenerComponents,
  options: TunnelListenerOptions,
  request: AcceptRequest,
): Promise<InboundTunnelSession> {
  const handshake = { timeoutMs: options.handshakeTimeoutMs };
  const channel = await components.tls.accept(request.socket, request.context, handshake).catch((cause: unknown) => {
    throw new HboneError(`tls handshake error: ${errorMessage(cause)}`, {
      code: "HBONE_HANDSHAKE_FAILED",
      origin: "downstream",
      cause,
    });
  });
  try {
    const peerIdentity = readPeerIdentity(channel, "downstream");
    requireTrustDomain(peerIdentity, request.trustDomain, "downstream");
    return serveTunnels(channel, peerIdentity, components.clock, options, request.onConnect);
  } catch (error) {
    channel.destroy(error instanceof Error ? error : undefined);
    throw error;
  }
}

/** Serves HTTP/2 on a channel whose peer has been verified. Takes the channel over. */
function serveTunnels(
  channel: SecureChannel,
  peerIdentity: Identity,
  clock: Clock,
  options: TunnelListenerOptions,
  onConnect: (request: InboundConnect) => void,
): InboundTunnelSession {
  let openTunnels = 0;
  const closed = Promise.withResolvers<Error | undefined>();
  const session: Http2Session = createHttp2Session({
    role: "server",
    channel,
    options: options.http2,
    handler: {
      onStream: (stream, headers) => {
        openTunnels++;
        const tunnel = new StreamTunnel(stream, peerIdentity, headers, () => openTunnels--);
        onConnect(new StreamConnect(stream, tunnel));
      },
      onSettings: () => preface.cancel(),
      onClose: (error) => {
        preface.cancel();
        stopWatch();
        closed.resolve(error);
      },
    },
  });
  const stopWatch = watchLiveness(session, clock, options, "downstream");
  const preface = clock.setTimer(options.handshakeTimeoutMs, () => {
    const message = `The peer sent no HTTP/2 settings within ${options.handshakeTimeoutMs} ms`;
    session.destroy(new HboneError(message, { code: "HBONE_PREFACE_TIMEOUT", origin: "downstream" }));
  });
  return {
    peerIdentity,
    get openTunnels() {
      return openTunnels;
    },
    whenClosed: closed.promise,
    drain: () => session.shutdown(),
    destroy: (error) => session.destroy(error),
  };
}

class StreamConnect implements InboundConnect {
  readonly #stream: Http2Stream;
  readonly #tunnel: StreamTunnel;

  constructor(stream: Http2Stream, tunnel: StreamTunnel) {
    this.#stream = stream;
    this.#tunnel = tunnel;
  }

  get method(): string {
    return findHeader(this.headers, ":method") ?? "";
  }

  get authority(): string {
    return findHeader(this.headers, ":authority") ?? "";
  }

  get headers(): HeaderList {
    return this.#tunnel.headers;
  }

  get peerIdentity(): Identity {
    return this.#tunnel.peerIdentity;
  }

  get closed(): boolean {
    return this.#tunnel.closed;
  }

  accept(headers: HeaderList = []): Tunnel {
    if (!this.#tunnel.closed) this.#stream.respond([{ name: ":status", value: "200" }, ...headers]);
    return this.#tunnel;
  }

  refuse(status: number, headers: HeaderList = []): void {
    if (this.#tunnel.closed) return;
    this.#stream.respond([{ name: ":status", value: String(status) }, ...headers], { endStream: true });
    // The peer may have sent bytes already; they are not wanted (RFC 9113 §8.1).
    this.#stream.reset(ErrorCode.NO_ERROR);
  }

  abort(): void {
    this.#stream.reset(ErrorCode.CONNECT_ERROR);
  }
}
