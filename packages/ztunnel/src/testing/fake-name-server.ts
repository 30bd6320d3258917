// A name server on loopback, or on sockets given to it: UDP and TCP on one port, answering by a function.
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import type { SocketAddress } from "@hairpin/shared/model";
import { errorCode } from "@hairpin/shared/process";
import { decode, encode, type Packet } from "dns-packet";

export type NameServerProtocol = "udp" | "tcp";

/** A query as the server saw it. */
export interface SeenQuery {
  readonly protocol: NameServerProtocol;
  readonly bytes: Buffer;
  readonly port: number;
}

/** The bytes of the answers; none: silence (UDP), or the end of the connection (TCP). */
export type NameServerBehaviour = (query: SeenQuery) => readonly Buffer[];

export interface FakeNameServer extends AsyncDisposable {
  readonly address: SocketAddress;
  readonly seen: readonly SeenQuery[];
}

/** An answer with the addresses, made by dns-packet: an encoder that we do not use. */
export function answerWith(query: Buffer, answers: readonly string[], more: Partial<Packet> = {}): Buffer {
  const { id = 0, questions = [] } = decode(query);
  const name = questions[0]?.name ?? "";
  return encode({
    type: "response",
    id,
    questions,
    answers: answers.map((data) => ({ type: data.includes(":") ? "AAAA" : "A", name, ttl: 5, data })),
    ...more,
  });
}

export async function startNameServer(behave: NameServerBehaviour): Promise<FakeNameServer> {
  return await onFreePort(async (port) => {
    const udp = createSocket("udp4");
    udp.bind(port, "127.0.0.1");
    await once(udp, "listening");
    const tcp = net.createServer();
    tcp.listen(port, "127.0.0.1");
    await once(tcp, "listening").catch((error: unknown) => {
      udp.close();
      throw error;
    });
    return serveNames({ ip: "127.0.0.1", port }, { udp, tcp }, behave);
  });
}

/** Takes one number for UDP and TCP: another when somebody has it for the one or the other. */
export async function onFreePort<T>(start: (port: number) => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    const probe = net.createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address() as net.AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    try {
      return await start(port);
    } catch (error) {
      if (errorCode(error) !== "EADDRINUSE" || attempt === 20) throw error;
    }
  }
}

/** Owns the sockets. */
export function serveNames(
  address: SocketAddress,
  sockets: { readonly udp: UdpSocket; readonly tcp: net.Server },
  behave: NameServerBehaviour,
): FakeNameServer {
  const { udp, tcp } = sockets;
  const seen: SeenQuery[] = [];
  const connections = new Set<net.Socket>();
  const hear = (query: SeenQuery): readonly Buffer[] => {
    seen.push(query);
    return behave(query);
  };
  udp.on("message", (bytes, peer) => {
    for (const answer of hear({ protocol: "udp", bytes, port: peer.port })) udp.send(answer, peer.port, peer.address);
  });
  tcp.on("connection", (socket) => {
    connections.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => connections.delete(socket));
    let received = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const bytes = received.subarray(2, 2 + received.readUInt16BE(0));
      received = received.subarray(2 + bytes.length);
      const answers = hear({ protocol: "tcp", bytes, port: socket.remotePort ?? 0 });
      for (const answer of answers) socket.write(framed(answer));
      if (answers.length === 0) socket.end();
    });
  });
  return {
    address,
    seen,
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy();
      await Promise.all([
        new Promise<void>((resolve) => udp.close(() => resolve())),
        new Promise<void>((resolve) => tcp.close(() => resolve())),
      ]);
    },
  };
}

/** As over TCP; written again here, so that our framing is not tested with itself. */
export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}
