import type { Socket } from "node:net";
import type { ByteChannel } from "../byte-channel.ts";

/** The certificate of one side and the roots it accepts. PEM text; no file is read. */
export interface TlsMaterial {
  /** Leaf first, then intermediates, concatenated. */
  readonly certificateChain: string;
  /** PKCS#8. */
  readonly privateKey: string;
  /** Every root that a peer's chain may end in. */
  readonly roots: readonly string[];
}

/** Prepared material: made once per certificate, shared by all its connections. */
export interface TlsContext {
  /** Frees what the engine holds for it, after the last connection that uses it. Idempotent. */
  close(): void;
}

export interface HandshakeOptions {
  /** Fails the handshake with code `TLS_HANDSHAKE_TIMEOUT` after this long. */
  readonly timeoutMs: number;
}

/** An established TLS 1.3 connection whose peer proved a certificate that chains to our roots. */
export interface SecureChannel extends ByteChannel {
  /** The peer's chain as DER, leaf first. Never empty: both sides authenticate. */
  readonly peerCertificates: readonly Uint8Array[];
  readonly alpnProtocol: string;
}

/**
 * Mutual TLS 1.3 with ALPN exactly `h2`, AES-GCM suites only, no SNI, no tickets, no resumption, no early data.
 * The name in the peer's certificate is not checked here: the caller checks the SPIFFE ID of `peerCertificates[0]`
 * before it sends or believes anything.
 *
 * `accept` and `connect` take over the raw socket (connected, paused, without listeners): on failure it has been
 * destroyed, on success it belongs to the channel. Errors carry a `code`: `TLS_HANDSHAKE_TIMEOUT`,
 * `TLS_HANDSHAKE_FAILED`, `TLS_HANDSHAKE_QUEUE_FULL`, `TLS_NO_ALPN`, `TLS_NO_PEER_CERTIFICATE`.
 */
export interface TlsEngine {
  readonly name: "node-tls" | "libssl";
  /** Throws with code `TLS_BAD_MATERIAL` when key and certificate do not fit or a PEM does not parse. */
  createContext(material: TlsMaterial): TlsContext;
  accept(socket: Socket, context: TlsContext, options: HandshakeOptions): Promise<SecureChannel>;
  connect(socket: Socket, context: TlsContext, options: HandshakeOptions): Promise<SecureChannel>;
}
