import type { Socket } from "node:net";
import { formatSocketAddress, formatSpiffeId, type Identity, type SocketAddress } from "@hairpin/shared/model";
import { errorCode, errorMessage, type Clock } from "@hairpin/shared/process";
import type { TlsContext, TlsEngine } from "@hairpin/wire";
import { HboneError } from "./errors.ts";
import type { TunnelDialerOptions } from "./options.ts";
import { handshakeFailureReason, requireExpected, verifyPeer } from "./peer-identity.ts";
import type { SessionMetrics } from "./session-metrics.ts";
import { SessionPool } from "./session-pool.ts";
import { TunnelSession, type ConnectRequest } from "./tunnel-session.ts";
import type { Tunnel } from "./tunnel.ts";

export interface TunnelDialerComponents {
  readonly tls: TlsEngine;
  /** The TLS context with the identity's certificate; the caller keeps and renews it. */
  contextFor(identity: Identity): Promise<TlsContext>;
  readonly clock: Clock;
  /** Default: nothing is counted. */
  readonly metrics?: SessionMetrics;
}

/** Where a tunnel goes and as whom. All of it is the key of the pool: a session never mixes two sources. */
export interface TunnelTarget {
  readonly sourceIdentity: Identity;
  /** The peer must prove one of these. */
  readonly expectedIdentities: readonly Identity[];
  /** The other proxy's HBONE address. */
  readonly address: SocketAddress;
  /** The address that we dial from. */
  readonly sourceIp: string;
  /** Makes the TCP connection, in whatever netns and with whatever options; a raw socket as wire's `connectTcp` gives. */
  connectSocket(timeoutMs: number): Promise<Socket>;
}

/**
 * Opens tunnels to other proxies, over pooled sessions. One dialer per source pod, so that its sessions end with it.
 */
export class TunnelDialer {
  readonly #components: TunnelDialerComponents;
  readonly #options: TunnelDialerOptions;
  readonly #pool: SessionPool<TunnelSession>;

  constructor(components: TunnelDialerComponents, options: TunnelDialerOptions) {
    this.#components = components;
    this.#options = options;
    this.#pool = new SessionPool(components.clock, options);
  }

  /** Sessions open now. */
  get sessions(): number {
    return this.#pool.size;
  }

  /**
   * Opens a tunnel and resolves once the other side connected to the application. The tunnel belongs to the caller.
   * Rejects with {@link HboneError}; a CONNECT that was refused before it was processed has been tried once more then, on
   * another session.
   */
  async dial(target: TunnelTarget, request: ConnectRequest): Promise<Tunnel> {
    const key = poolKey(target);
    const connect = (): Promise<TunnelSession> => this.#connect(target);
    let used: TunnelSession | undefined;
    const open = (session: TunnelSession): { readonly tunnel: Promise<Tunnel> } => {
      used = session;
      return { tunnel: session.open(request) };
    };
    try {
      return await (
        await this.#pool.withSession(key, connect, open)
      ).tunnel;
    } catch (error) {
      if (!(error instanceof HboneError) || error.code !== "HBONE_STREAM_REFUSED") throw error;
      return (await this.#pool.withSession(key, connect, open, used)).tunnel;
    }
  }

  /** Lets open tunnels finish and closes their sessions then; dials nothing more. */
  close(): void {
    this.#pool.close();
  }

  /** Closes all sessions and tunnels now. */
  destroy(error: Error): void {
    this.#pool.destroy(error);
  }

  async #connect(target: TunnelTarget): Promise<TunnelSession> {
    const { tls, metrics } = this.#components;
    const context = await this.#components.contextFor(target.sourceIdentity);
    const timeoutMs = this.#options.connectTimeoutMs;
    const socket = await target.connectSocket(timeoutMs).catch((error: unknown) => {
      throw dialFailed(target.address, error);
    });
    const channel = await tls.connect(socket, context, { timeoutMs }).catch((cause: unknown) => {
      const error = handshakeFailed(target.address, cause);
      metrics?.peerRefused("upstream", error);
      throw error;
    });
    try {
      const peer = verifyPeer(channel, "upstream");
      requireExpected(peer.identity, target.expectedIdentities, "upstream");
      return new TunnelSession(channel, peer, this.#components, this.#options);
    } catch (error) {
      channel.destroy();
      metrics?.peerRefused("upstream", error);
      throw error;
    }
  }
}

function poolKey(target: TunnelTarget): string {
  const identities = target.expectedIdentities.map(formatSpiffeId).join(",");
  return `${formatSpiffeId(target.sourceIdentity)}|${identities}|${formatSocketAddress(target.address)}|${target.sourceIp}`;
}

function dialFailed(address: SocketAddress, cause: unknown): HboneError {
  const where = formatSocketAddress(address);
  if (errorCode(cause) === "TCP_CONNECT_TIMEOUT") {
    const message = `connection timed out, maybe a NetworkPolicy is blocking HBONE port ${address.port}: ${where}`;
    return new HboneError(message, { code: "HBONE_DIAL_TIMEOUT", origin: "upstream", cause });
  }
  return new HboneError(`connection failed: ${where}: ${errorMessage(cause)}`, {
    code: "HBONE_DIAL_FAILED",
    origin: "upstream",
    cause,
  });
}

function handshakeFailed(address: SocketAddress, cause: unknown): HboneError {
  const message = `tls handshake error: ${formatSocketAddress(address)}: ${errorMessage(cause)}`;
  const details = { reason: handshakeFailureReason(cause) };
  return new HboneError(message, { code: "HBONE_HANDSHAKE_FAILED", origin: "upstream", details, cause });
}
