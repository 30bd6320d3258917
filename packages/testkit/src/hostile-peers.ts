// Attackers over plain node:tls, which shares nothing with the engines under attack: a client and a server that speak what the test
// writes.
import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import tls from "node:tls";
import type { TlsMaterial } from "@hairpin/wire";
import { CLIENT_PREFACE, settingsFrame } from "@hairpin/wire/test-support/frames";
import { RawHttp2Peer, type RawHttp2PeerOptions } from "./raw-http2-peer.ts";

export interface HostileTlsOptions extends tls.ConnectionOptions {
  /** Default h2. */
  readonly ALPNProtocols?: string[];
  /** The address to call from. */
  readonly localAddress?: string;
}

/** Attackers show keys and signatures that OpenSSL would not use by itself. */
const anyStrength = "DEFAULT:@SECLEVEL=0";

/** Resolves after TLS as the client sees it: a server that refuses the certificate says so only later. Rejects with node:tls's error. */
export async function connectHostileTls(
  address: { readonly ip: string; readonly port: number },
  material: Partial<TlsMaterial> | undefined,
  { localAddress, ...options }: HostileTlsOptions = {},
): Promise<tls.TLSSocket> {
  const from = localAddress === undefined ? {} : { localAddress };
  const socket = tls.connect({
    socket: connect({ host: address.ip, port: address.port, noDelay: true, ...from }),
    ...(material?.certificateChain === undefined ? {} : { cert: material.certificateChain }),
    ...(material?.privateKey === undefined ? {} : { key: material.privateKey }),
    ...(material?.roots === undefined ? {} : { ca: [...material.roots] }),
    ALPNProtocols: ["h2"],
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ciphers: anyStrength,
    ...options,
  });
  await once(socket, "secureConnect");
  socket.on("error", () => {});
  return socket;
}

/** A client that has sent preface and SETTINGS. */
export async function connectHostileClient(
  address: { readonly ip: string; readonly port: number },
  material: TlsMaterial,
  options: Omit<RawHttp2PeerOptions, "role"> & Pick<HostileTlsOptions, "localAddress"> = {},
): Promise<RawHttp2Peer> {
  const socket = await connectHostileTls(address, material, options);
  const peer = new RawHttp2Peer(socket, { ...options, role: "client" });
  peer.send(CLIENT_PREFACE, settingsFrame());
  return peer;
}

export interface HostileServer extends AsyncDisposable {
  readonly address: { readonly ip: string; readonly port: number };
  /** Connections whose TLS was done, in order. */
  readonly peers: readonly RawHttp2Peer[];
}

/** A server with a good certificate, or one that the test made; `onPeer` gets each client before a byte is read, and sends SETTINGS itself. */
export async function startHostileServer(
  material: TlsMaterial,
  onPeer: (peer: RawHttp2Peer) => void,
  options: Omit<RawHttp2PeerOptions, "role"> & { readonly tls?: tls.TlsOptions } = {},
): Promise<HostileServer> {
  const peers: RawHttp2Peer[] = [];
  const server = tls.createServer({
    cert: material.certificateChain,
    key: material.privateKey,
    ca: [...material.roots],
    ALPNProtocols: ["h2"],
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    ciphers: anyStrength,
    ...options.tls,
  });
  server.on("secureConnection", (socket) => {
    const peer = new RawHttp2Peer(socket, { ...options, role: "server" });
    peers.push(peer);
    onPeer(peer);
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: { ip: "127.0.0.1", port: (server.address() as AddressInfo).port },
    peers,
    async [Symbol.asyncDispose]() {
      for (const peer of peers) peer.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
