import { X509Certificate, constants } from "node:crypto";
import type { Socket } from "node:net";
import tls from "node:tls";
import { WireError, type WireErrorCode } from "../errors.ts";
import { CipherStream } from "./cipher-stream.ts";
import type { HandshakeOptions, SecureChannel, TlsContext, TlsEngine, TlsMaterial } from "./engine.ts";
import { type HandshakePacer, queueFull, threadHandshakePacer } from "./handshake-pacer.ts";
import { NodeTlsChannel } from "./node-tls-channel.ts";

const protocol = "h2";
/** As ztunnel: the two AES-GCM suites of TLS 1.3. */
const cipherSuites = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
/** Certificates of a peer that are kept; a longer chain is cut. */
const maxChainLength = 8;

/** The engine over node:tls: runs wherever Node runs. Contexts are shared by all connections of one certificate. */
export function createNodeTlsEngine(pacer: HandshakePacer = threadHandshakePacer): TlsEngine {
  return {
    name: "node-tls",
    createContext: (material) => new NodeTlsContext(material),
    accept: (socket, context, options) => handshake({ socket, role: "server", pacer }, context, options),
    connect: (socket, context, options) => handshake({ socket, role: "client", pacer }, context, options),
  };
}

class NodeTlsContext implements TlsContext {
  #secureContext: tls.SecureContext | undefined;

  constructor(material: TlsMaterial) {
    this.#secureContext = createSecureContext(material);
  }

  get secureContext(): tls.SecureContext {
    if (this.#secureContext === undefined) throw new WireError("TLS_CONTEXT_CLOSED", "TLS context was closed");
    return this.#secureContext;
  }

  close(): void {
    // Connections hold their own reference; the memory goes with the last of them.
    this.#secureContext = undefined;
  }
}

function createSecureContext(material: TlsMaterial): tls.SecureContext {
  // Without roots node:tls would trust the public ones.
  if (material.roots.length === 0) throw new WireError("TLS_BAD_MATERIAL", "No root certificate given");
  try {
    [material.certificateChain, ...material.roots].forEach(requireCertificate);
    return tls.createSecureContext({
      cert: material.certificateChain,
      key: material.privateKey,
      ca: [...material.roots],
      minVersion: "TLSv1.3",
      maxVersion: "TLSv1.3",
      ciphers: cipherSuites,
      // A ticket would let a client come back without a certificate, and node:tls would call it authorized.
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
  } catch (error) {
    throw new WireError("TLS_BAD_MATERIAL", `Certificate, key or roots unusable: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** node:tls takes an empty chain, and a root that is no certificate, without a word. Throws OpenSSL's error. */
function requireCertificate(pem: string): X509Certificate {
  return new X509Certificate(pem);
}

interface HandshakeParts {
  readonly socket: Socket;
  readonly role: "server" | "client";
  readonly pacer: HandshakePacer;
}

/** Resolves once both sides are authenticated as far as this side can see; destroys the socket otherwise. */
function handshake(
  { socket, role, pacer }: HandshakeParts,
  context: TlsContext,
  options: HandshakeOptions,
): Promise<SecureChannel> {
  return new Promise((resolve, reject) => {
    const cipher = new CipherStream(socket);
    let connection: tls.TLSSocket | undefined;
    let settled = false;
    const refuse = (error: WireError): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      cipher.destroy();
      connection?.destroy();
      reject(error);
    };
    const timer = setTimeout(() => {
      refuse(new WireError("TLS_HANDSHAKE_TIMEOUT", `TLS handshake took longer than ${options.timeoutMs} ms`));
    }, options.timeoutMs);
    cipher.pacer = pacer;
    cipher.onQueueFull = () => refuse(queueFull(cipher.channel));
    cipher.onFin = () => refuse(handshakeError(new Error("peer closed the connection")));
    cipher.onTransportClose = () => {
      refuse(handshakeError(cipher.transportError ?? new Error("connection closed")));
      cipher.release();
    };
    try {
      connection = startTls(cipher, context, role);
    } catch (error) {
      return refuse(error instanceof WireError ? error : handshakeError(error as Error));
    }
    const established = connection;
    established.on("error", (error) => refuse(handshakeError(error)));
    established.once(role === "server" ? "secure" : "secureConnect", () => {
      const channel = verifiedChannel(established, cipher);
      if (channel instanceof WireError) return refuse(channel);
      settled = true;
      clearTimeout(timer);
      cipher.pacer = undefined;
      resolve(channel);
    });
  });
}

function startTls(cipher: CipherStream, context: TlsContext, role: "server" | "client"): tls.TLSSocket {
  if (!(context instanceof NodeTlsContext)) throw new TypeError("TLS context belongs to another engine");
  const common = { secureContext: context.secureContext, ALPNProtocols: [protocol], rejectUnauthorized: true };
  if (role === "server") return new tls.TLSSocket(cipher.asDuplex(), { ...common, isServer: true, requestCert: true });
  // Workload certificates carry SPIFFE IDs, no host names: the caller checks the ID. No servername, so no SNI is sent.
  return tls.connect({ ...common, socket: cipher.asDuplex(), checkServerIdentity: () => undefined });
}

/** The checks that OpenSSL leaves to node:tls's own servers and clients, done here for both roles alike. */
function verifiedChannel(connection: tls.TLSSocket, cipher: CipherStream): SecureChannel | WireError {
  const verifyError = (connection as unknown as InternalTlsSocket)._handle.verifyError();
  if (verifyError)
    return new WireError("TLS_HANDSHAKE_FAILED", `Peer certificate refused: ${verifyError.message}`, {
      cause: verifyError,
    });
  if (connection.isSessionReused()) return new WireError("TLS_HANDSHAKE_FAILED", "TLS session was resumed");
  const peerCertificates = peerChain(connection);
  if (peerCertificates.length === 0) return new WireError("TLS_NO_PEER_CERTIFICATE", "Peer sent no certificate");
  if (connection.alpnProtocol !== protocol)
    return new WireError("TLS_NO_ALPN", `Peer did not agree on ALPN ${protocol}`);
  return new NodeTlsChannel(connection, cipher, peerCertificates, protocol);
}

interface InternalTlsSocket {
  /** OpenSSL's verdict on the peer's chain; a server that is not a tls.Server must ask for it. */
  readonly _handle: { verifyError(): Error | null | undefined };
}

function peerChain(connection: tls.TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = connection.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < maxChainLength) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

function handshakeError(cause: Error): WireError {
  return new WireError(handshakeErrorCode(cause), `TLS handshake failed: ${cause.message}`, { cause });
}

function handshakeErrorCode(cause: Error): WireErrorCode {
  switch ((cause as NodeJS.ErrnoException).code) {
    case "ERR_SSL_NO_APPLICATION_PROTOCOL":
    case "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL":
    case "ERR_SSL_TLS_ALERT_NO_APPLICATION_PROTOCOL":
      return "TLS_NO_ALPN";
    case "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE":
      return "TLS_NO_PEER_CERTIFICATE";
    default:
      return "TLS_HANDSHAKE_FAILED";
  }
}
