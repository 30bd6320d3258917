import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from "node:http2";
import type { Duplex } from "node:stream";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { request as http2Request } from "http2-wrapper";
import { equalIdentity, formatSpiffeId, parseSpiffeId, type Identity, type SocketAddress } from "@hairpin/shared/model";
import { readUriSans, type TlsMaterial } from "@hairpin/wire";
import { errorMessage } from "@hairpin/shared/process";
import { HboneError } from "./errors.ts";

export interface HboneClientOptions {
  /** A ztunnel's or waypoint's HBONE address, port 15008. */
  readonly address: SocketAddress;
  /** Our certificate, whose SPIFFE ID is the caller that policies see. */
  readonly material: TlsMaterial;
  /** Who the other side must prove to be. */
  readonly expectedIdentities: readonly Identity[];
  /** TCP, TLS and every CONNECT may each take this long. Default 10 s. */
  readonly timeoutMs?: number;
}

/**
 * An HBONE client for Node programs that are not captured: one mTLS session, tunnels as Node streams. It shares no code
 * with the mesh's own tunnels (it stands on node:tls and node:http2), so that tests can hold one against the other.
 */
export interface HboneClient {
  readonly peerIdentity: Identity;
  /**
   * Opens a tunnel to `authority`; give the stream to `node:http`'s `createConnection`, say. Owned by the caller.
   * Rejects with {@link HboneError} `HBONE_CONNECT_REFUSED` (status in `details.status`) or `HBONE_STREAM_RESET`.
   */
  openTunnel(authority: string, headers?: Readonly<Record<string, string | string[]>>): Promise<Duplex>;
  /** Opens a tunnel and speaks HTTP/2 through it: the `h2session` of http2-wrapper's `request(url, { h2session })`. */
  openSession(authority: string, headers?: Readonly<Record<string, string | string[]>>): Promise<ClientHttp2Session>;
  /** Ends the session and its tunnels. */
  close(): void;
}

/** Connects and checks who answers. Rejects with {@link HboneError} `HBONE_HANDSHAKE_FAILED` or `HBONE_PEER_IDENTITY`. */
export async function connectHbone(options: HboneClientOptions): Promise<HboneClient> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const socket = await dialTls(options, timeoutMs);
  const peerIdentity = checkPeer(socket, options.expectedIdentities);
  const session = connectHttp2("https://hbone", {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: 4 * 1024 * 1024 },
  });
  // Every request reports its own failure; without a listener the session's would end the program.
  session.on("error", () => {});
  const openTunnel: HboneClient["openTunnel"] = (authority, headers = {}) =>
    openStream(session, authority, headers, timeoutMs);
  return {
    peerIdentity,
    openTunnel,
    openSession: async (authority, headers) => {
      const tunnel = await openTunnel(authority, headers);
      const inner = connectHttp2(`http://${authority}`, { createConnection: () => tunnel });
      inner.on("error", () => {});
      return inner;
    },
    close: () => session.destroy(),
  };
}

function dialTls(options: HboneClientOptions, timeoutMs: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      host: options.address.ip,
      port: options.address.port,
      cert: options.material.certificateChain,
      key: options.material.privateKey,
      ca: [...options.material.roots],
      minVersion: "TLSv1.3",
      ALPNProtocols: ["h2"],
      // The certificate carries a SPIFFE ID and no host name: checkPeer looks at it before anything is sent.
      checkServerIdentity: () => undefined,
    });
    const fail = (error: Error): void => {
      socket.destroy();
      const message = `No HBONE session with ${options.address.ip}:${options.address.port}: ${error.message}`;
      reject(new HboneError(message, { code: "HBONE_HANDSHAKE_FAILED", origin: "upstream", cause: error }));
    };
    socket.setTimeout(timeoutMs, () => fail(new Error(`no answer within ${timeoutMs} ms`)));
    socket.once("error", fail);
    socket.once("secureConnect", () => {
      socket.setTimeout(0);
      socket.off("error", fail);
      resolve(socket);
    });
  });
}

function checkPeer(socket: TLSSocket, expected: readonly Identity[]): Identity {
  try {
    const [san = "", ...others] = readUriSans(socket.getPeerCertificate(true).raw);
    if (others.length > 0) throw new Error(`${others.length + 1} URI SANs`);
    const identity = parseSpiffeId(san);
    if (expected.some((candidate) => equalIdentity(candidate, identity))) return identity;
    throw new Error(`got ${san}, expected ${expected.map(formatSpiffeId).join(", ")}`);
  } catch (error) {
    socket.destroy();
    const message = `The peer's certificate is not the expected one: ${errorMessage(error)}`;
    throw new HboneError(message, { code: "HBONE_PEER_IDENTITY", origin: "upstream", cause: error });
  }
}

function openStream(
  session: ClientHttp2Session,
  authority: string,
  headers: Readonly<Record<string, string | string[]>>,
  timeoutMs: number,
): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const request = http2Request({
      method: "CONNECT",
      h2session: session,
      headers: { ...headers, ":authority": authority },
    });
    const fail = (
      message: string,
      code: "HBONE_CONNECT_REFUSED" | "HBONE_CONNECT_TIMEOUT" | "HBONE_STREAM_RESET",
      details = {},
    ): void => {
      clearTimeout(timer);
      reject(new HboneError(message, { code, origin: "upstream", details }));
    };
    const timer = setTimeout(() => {
      fail(`CONNECT to ${authority} was not answered within ${timeoutMs} ms`, "HBONE_CONNECT_TIMEOUT");
      request.destroy();
    }, timeoutMs);
    request.once("error", (error: Error) =>
      fail(`CONNECT to ${authority} failed: ${error.message}`, "HBONE_STREAM_RESET"),
    );
    request.once(
      "connect",
      (response: { statusCode?: number; headers: IncomingHttpHeaders }, stream: ClientHttp2Stream) => {
        clearTimeout(timer);
        if (response.statusCode === 200) {
          resolve(stream);
          return;
        }
        stream.destroy();
        fail(`CONNECT to ${authority} was refused: ${response.statusCode}`, "HBONE_CONNECT_REFUSED", {
          status: response.statusCode,
        });
      },
    );
    request.end();
  });
}
