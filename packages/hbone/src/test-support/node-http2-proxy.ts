// Proxies out of node:http2 and node:tls, which share no code with ours.

import { once } from "node:events";
import {
  connect as connectHttp2,
  type ClientHttp2Session,
  createSecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { connect as connectTls, type SecureContextOptions } from "node:tls";
import type { SocketAddress } from "@hairpin/shared/model";
import { http2StreamChannel } from "@hairpin/testkit/tunnel-compliance";
import type { TlsMaterial } from "@hairpin/wire";
import { clientIdentity, serverIdentity, testAuthority } from "./hbone-proxy.ts";
import { ArrivalBoard, type AcceptingProxy, type DiallingProxy } from "./proxy-pair.ts";

/** Of each stream that a node:http2 side receives. */
export const nodeStreamWindow: number = 1024 * 1024;

const nodeConnectionWindow = 16 * nodeStreamWindow;

const settings = { initialWindowSize: nodeStreamWindow, maxConcurrentStreams: 200, enablePush: false };

/** node:http2 as the dialling proxy, over one session to `address`. */
export function createNodeDialler(address: SocketAddress): DiallingProxy {
  let session: ClientHttp2Session | undefined;
  return {
    dial(authority, early) {
      session ??= openSession(address);
      const stream = session.request({ ":method": "CONNECT", ":authority": authority });
      if (early !== undefined) stream.write(early);
      const channel = http2StreamChannel(stream);
      const status = new Promise<number>((resolve, reject) => {
        stream.on("response", (headers) => resolve(Number(headers[":status"])));
        stream.on("close", () => reject(new Error(`The CONNECT to ${authority} was not answered`)));
      });
      const opened = status.then((code) => {
        if (code !== 200) throw new Error(`The CONNECT to ${authority} was answered ${code}`);
        return channel;
      });
      return { status, channel: opened };
    },
    async [Symbol.asyncDispose]() {
      session?.destroy();
    },
  };
}

function openSession(address: SocketAddress): ClientHttp2Session {
  const socket = connectTls({
    host: address.ip,
    port: address.port,
    ...tlsOptions(testAuthority.material(clientIdentity)),
    checkServerIdentity: () => undefined,
  });
  const session = connectHttp2("https://hbone", { createConnection: () => socket, settings });
  // The streams tell what happened.
  session.on("error", () => {});
  session.once("remoteSettings", () => session.setLocalWindowSize(nodeConnectionWindow));
  return session;
}

/** node:http2 as the accepting proxy. */
export async function startNodeAcceptor(): Promise<AcceptingProxy> {
  const board = new ArrivalBoard();
  const sessions = new Set<ServerHttp2Session>();
  const server = createSecureServer({
    ...tlsOptions(testAuthority.material(serverIdentity)),
    requestCert: true,
    rejectUnauthorized: true,
    settings,
  });
  server.on("session", (session) => {
    sessions.add(session);
    session.setLocalWindowSize(nodeConnectionWindow);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  server.on("sessionError", () => {});
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    // Before it is asked for the channel listens for errors only.
    const channel = http2StreamChannel(stream);
    board.arrive(headers[":authority"] ?? "", {
      accept: () => {
        stream.respond({ ":status": 200 });
        return channel;
      },
      refuse: (status) => stream.respond({ ":status": status }, { endStream: true }),
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: { ip: "127.0.0.1", port: (server.address() as AddressInfo).port },
    arrival: (authority) => board.arrival(authority),
    drain: () => {
      for (const session of sessions) session.close();
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}

function tlsOptions(material: TlsMaterial): SecureContextOptions & { readonly ALPNProtocols: string[] } {
  return {
    cert: material.certificateChain,
    key: material.privateKey,
    ca: [...material.roots],
    minVersion: "TLSv1.3",
    ALPNProtocols: ["h2"],
  };
}
