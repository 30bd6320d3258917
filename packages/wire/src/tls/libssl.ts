import type { Socket } from "node:net";
import { OpensslContext, OpensslError, SslReason, TlsState } from "@hairpin/native";
import type { ByteChannelHandler } from "../byte-channel.ts";
import { WireError, type WireErrorCode } from "../errors.ts";
import { SocketChannel } from "../socket.ts";
import type { HandshakeOptions, SecureChannel, TlsContext, TlsEngine, TlsMaterial } from "./engine.ts";
import { type HandshakePacer, queueFull, threadHandshakePacer } from "./handshake-pacer.ts";
import { LibsslChannel } from "./libssl-channel.ts";

/** The only protocol that the contexts agree on. */
const protocol = "h2";

/**
 * The engine over Node's own libssl, called by FFI: half the CPU of node:tls. A context belongs to the thread that made it.
 * `createContext` throws `OPENSSL_UNAVAILABLE` where libssl cannot be called; see `chooseTlsEngine`.
 */
export function createLibsslEngine(pacer: HandshakePacer = threadHandshakePacer): TlsEngine {
  const handshake = (
    role: "server" | "client",
    socket: Socket,
    context: TlsContext,
    options: HandshakeOptions,
  ): Promise<SecureChannel> =>
    new Promise((resolve, reject) => {
      new LibsslHandshake({ socket, role, pacer, resolve, reject }).start(context, options.timeoutMs);
    });
  return {
    name: "libssl",
    createContext,
    accept: (socket, context, options) => handshake("server", socket, context, options),
    connect: (socket, context, options) => handshake("client", socket, context, options),
  };
}

function createContext(material: TlsMaterial): TlsContext {
  try {
    return new OpensslContext(material);
  } catch (error) {
    if (!(error instanceof OpensslError) || error.code !== "OPENSSL_BAD_MATERIAL") throw error;
    throw new WireError("TLS_BAD_MATERIAL", `Certificate, key or roots unusable: ${error.message}`, { cause: error });
  }
}

interface HandshakeParts {
  readonly socket: Socket;
  readonly role: "server" | "client";
  readonly pacer: HandshakePacer;
  resolve(channel: SecureChannel): void;
  reject(error: Error): void;
}

/**
 * From a raw socket to a channel. States: running (reading, or paused while a step waits for its turn) → settled. While it
 * runs it owns socket and TLS state; it hands both to the channel, or destroys them.
 */
class LibsslHandshake implements ByteChannelHandler {
  readonly #parts: HandshakeParts;
  readonly #transport: SocketChannel;
  #tls: TlsState | undefined;
  #timer: NodeJS.Timeout | undefined;
  #settled = false;

  /** Throws `SOCKET_NOT_RAW`. */
  constructor(parts: HandshakeParts) {
    this.#parts = parts;
    this.#transport = new SocketChannel(parts.socket, { highWaterMark: 0, gathers: false });
  }

  start(context: TlsContext, timeoutMs: number): void {
    this.#transport.setHandler(this);
    this.#timer = setTimeout(() => {
      this.#refuse(new WireError("TLS_HANDSHAKE_TIMEOUT", `TLS handshake took longer than ${timeoutMs} ms`));
    }, timeoutMs);
    try {
      if (!(context instanceof OpensslContext)) throw new TypeError("TLS context belongs to another engine");
      this.#tls = new TlsState(context, this.#parts.role);
    } catch (error) {
      return this.#refuse(handshakeError(error as Error));
    }
    if (this.#parts.role === "client") this.#pace(undefined);
    else this.#transport.resume();
  }

  onData(ciphertext: Uint8Array): void {
    this.#pace(ciphertext);
  }

  onEnd(): void {
    this.#refuse(handshakeError(new Error("peer closed the connection")));
  }

  onDrain(): void {
    // A flight that had to wait is on its way.
  }

  onClose(error: Error | undefined): void {
    this.#refuse(handshakeError(error ?? new Error("connection closed")));
  }

  #pace(ciphertext: Uint8Array | undefined): void {
    const paced = this.#parts.pacer.pace(this.#transport, ciphertext, (bytes) => this.#step(bytes));
    if (!paced) this.#refuse(queueFull(this.#transport));
  }

  #step(ciphertext: Uint8Array | undefined): void {
    const tls = this.#tls;
    if (this.#settled || tls === undefined) return;
    const established = tls.handshake(ciphertext);
    const unreadLength = established ? tls.takeUnread() : 0;
    const flight = tls.takeOutput();
    if (flight !== undefined) this.#transport.write(flight);
    if (tls.failure !== undefined) return this.#refuse(handshakeError(tls.failure));
    if (!established) return this.#transport.resume();
    this.#transport.pause();
    const unread = ciphertext?.subarray(ciphertext.length - unreadLength) ?? new Uint8Array();
    this.#finish(tls, unread);
  }

  #finish(tls: TlsState, unread: Uint8Array): void {
    const peer = tls.readPeer();
    if (peer.certificates.length === 0)
      return this.#refuse(new WireError("TLS_NO_PEER_CERTIFICATE", "Peer sent no certificate"));
    if (!peer.alpnAgreed) return this.#refuse(new WireError("TLS_NO_ALPN", `Peer did not agree on ALPN ${protocol}`));
    this.#settled = true;
    clearTimeout(this.#timer);
    const { certificates: peerCertificates } = peer;
    this.#parts.resolve(
      new LibsslChannel({
        transport: this.#transport,
        tls,
        peerCertificates,
        alpnProtocol: protocol,
        unread: Uint8Array.from(unread),
      }),
    );
  }

  /** An alert that is with the kernel still goes out: closed without RST. */
  #refuse(error: WireError): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#tls?.close();
    this.#transport.close();
    this.#parts.reject(error);
  }
}

function handshakeError(cause: Error): WireError {
  return new WireError(handshakeErrorCode(cause), `TLS handshake failed: ${cause.message}`, { cause });
}

function handshakeErrorCode(cause: Error): WireErrorCode {
  if (!(cause instanceof OpensslError)) return "TLS_HANDSHAKE_FAILED";
  if (cause.code === "OPENSSL_CLOSED") return "TLS_CONTEXT_CLOSED";
  switch (cause.reason) {
    case SslReason.noApplicationProtocol:
    case SslReason.alertNoApplicationProtocol:
      return "TLS_NO_ALPN";
    case SslReason.peerDidNotReturnACertificate:
      return "TLS_NO_PEER_CERTIFICATE";
    default:
      return "TLS_HANDSHAKE_FAILED";
  }
}
