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
import type { TunnelListenerOptions } from "./options.ts";
import { handshakeFailureReason, requireTrustDomain, verifyPeer, type VerifiedPeer } from "./peer-identity.ts";
import type { ResetBudgets } from "./reset-budgets.ts";
import type { SessionMetrics } from "./session-metrics.ts";
import { SessionWatch } from "./session-watch.ts";
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
  /** Shared by all listeners of the process. Default: each session has a budget of its own. */
  readonly resetBudgets?: ResetBudgets;
  /** Default: nothing is counted. */
  readonly metrics?: SessionMetrics;
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
 * Rejects with {@link HboneError} `HBONE_HANDSHAKE_FAILED`, `HBONE_PEER_IDENTITY` or `HBONE_PEER_CERTIFICATE`; the socket is closed
 * then.
 */
export async function acceptTunnelSession(
  components: TunnelListenerComponents,
  options: TunnelListenerOptions,
  request: AcceptRequest,
): Promise<InboundTunnelSession> {
  try {
    const ip = request.socket.remoteAddress ?? "";
    const { channel, peer } = await acceptPeer(components, options, request);
    return serveTunnels({ channel, peer, ip }, components, options, request.onConnect);
  } catch (error) {
    components.metrics?.peerRefused("downstream", error);
    throw error;
  }
}

async function acceptPeer(
  { tls }: TunnelListenerComponents,
  options: TunnelListenerOptions,
  { socket, context, trustDomain }: AcceptRequest,
): Promise<{ readonly channel: SecureChannel; readonly peer: VerifiedPeer }> {
  const handshake = { timeoutMs: options.handshakeTimeoutMs };
  const channel = await tls.accept(socket, context, handshake).catch((cause: unknown) => {
    throw new HboneError(`tls handshake error: ${errorMessage(cause)}`, {
      code: "HBONE_HANDSHAKE_FAILED",
      origin: "downstream",
      details: { reason: handshakeFailureReason(cause) },
      cause,
    });
  });
  try {
    const peer = verifyPeer(channel, "downstream");
    requireTrustDomain(peer.identity, trustDomain, "downstream");
    return { channel, peer };
  } catch (error) {
    channel.destroy(error instanceof Error ? error : undefined);
    throw error;
  }
}

interface AcceptedPeer {
  readonly channel: SecureChannel;
  readonly peer: VerifiedPeer;
  readonly ip: string;
}

/** Serves HTTP/2 on a channel whose peer has been verified. Takes the channel over. */
function serveTunnels(
  { channel, peer, ip }: AcceptedPeer,
  { clock, resetBudgets, metrics }: TunnelListenerComponents,
  options: TunnelListenerOptions,
  onConnect: (request: InboundConnect) => void,
): InboundTunnelSession {
  const { identity: peerIdentity, expiresAt } = peer;
  let openTunnels = 0;
  const closed = Promise.withResolvers<Error | undefined>();
  const session: Http2Session = createHttp2Session({
    role: "server",
    channel,
    options: {
      ...options.http2,
      now: () => clock.now(),
      ...(resetBudgets ? { resetBudget: resetBudgets.of({ identity: peerIdentity, ip }) } : {}),
    },
    handler: {
      onStream: (stream, headers) => {
        openTunnels++;
        const tunnel = new StreamTunnel(stream, peerIdentity, headers, () => openTunnels--);
        onConnect(new StreamConnect(stream, tunnel));
      },
      onSettings: () => watch.onSettings(),
      onHeaderBlock: (open) => watch.onHeaderBlock(open),
      ...metrics?.sessionHandler("downstream", "tunnels"),
      onClose: (error) => {
        watch.stop();
        metrics?.sessionClosed("downstream", error);
        closed.resolve(error);
      },
    },
  });
  const drain = (): void => session.shutdown();
  const watch = new SessionWatch({ session, side: "downstream", expiresAt, drain }, clock, options);
  return {
    peerIdentity,
    get openTunnels() {
      return openTunnels;
    },
    whenClosed: closed.promise,
    drain,
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
