// One pod's DNS server on loopback, put together as DnsProxy does it, with bounds that a test can reach.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import { MeshState, type PodInfo } from "@hairpin/shared/discovery";
import type { Service, SocketAddress, Workload } from "@hairpin/shared/model";
import { type Clock, systemClock } from "@hairpin/shared/process";
import { createLogger, MetricRegistry } from "@hairpin/shared/telemetry";
import { connectTcp, listenTcp } from "@hairpin/wire";
import { decode, type DecodedPacket, encode, type Packet, type RecordType } from "dns-packet";
import { DnsMetrics } from "../dns/dns-metrics.ts";
import { DnsServer } from "../dns/dns-server.ts";
import { Forwarder } from "../dns/forwarder.ts";
import { Limit } from "../dns/limit.ts";
import { QueryHandler } from "../dns/query-handler.ts";
import type { PodNetwork } from "../pod-network.ts";
import { framed, onFreePort } from "./fake-name-server.ts";

/** Sockets of this process's own netns. */
export const loopbackSockets: Pick<PodNetwork, "bindUdp" | "connect" | "listen"> = {
  async bindUdp({ ip, port }) {
    const socket = createSocket(ip.includes(":") ? "udp6" : "udp4");
    socket.bind({ address: ip, port, exclusive: true });
    await once(socket, "listening");
    return socket;
  },
  connect: (destination, { timeoutMs }) => connectTcp({ ...destination, timeoutMs }),
  listen: (port, { ip, onConnection }) => listenTcp({ host: ip ?? "127.0.0.1", port, onConnection }),
};

export interface LoopbackDnsOptions {
  readonly services?: readonly Service[];
  readonly workloads?: readonly Workload[];
  readonly nameServers?: readonly SocketAddress[];
  readonly pod?: PodInfo;
  readonly maxPending?: number;
  readonly maxConnections?: number;
  readonly maxPipelined?: number;
  readonly attemptTimeoutMs?: number;
  readonly tcpIdleTimeoutMs?: number;
  readonly clock?: Clock;
}

export interface LoopbackDns extends AsyncDisposable {
  readonly mesh: MeshState;
  readonly metrics: MetricRegistry;
  readonly lines: readonly string[];
  readonly pending: Limit;
  readonly connections: Limit;
  readonly handler: QueryHandler;
  /** Of UDP and TCP. */
  readonly port: number;
  close(): Promise<void>;
}

export async function startLoopbackDns(options: LoopbackDnsOptions = {}): Promise<LoopbackDns> {
  const { services = [], workloads = [], nameServers = [], clock = systemClock } = options;
  const mesh = new MeshState({ clock });
  mesh.loadStateFile({ services, workloads, policies: [] });
  const registry = new MetricRegistry();
  const metrics = new DnsMetrics(registry);
  const lines: string[] = [];
  const logger = createLogger({ level: "debug", destination: { write: (line) => lines.push(line), flush() {} } });
  const closing = new AbortController();
  const pending = new Limit(options.maxPending ?? 64);
  const connections = new Limit(options.maxConnections ?? 16);
  const forwarder = new Forwarder(
    { network: loopbackSockets, clock, signal: closing.signal },
    { nameServers, attemptTimeoutMs: options.attemptTimeoutMs ?? 2000, timeoutMs: 5000 },
  );
  const pod = options.pod ?? { name: "web-1", namespace: "ns", serviceAccount: "web" };
  const handler = new QueryHandler(
    pod,
    { mesh, forwarder, metrics, pending, clock, logger: logger.child("dns"), random: () => 0 },
    { clusterDomain: "cluster.local", ipv6: true, clientWaitMs: 5000 },
  );
  let port = 0;
  const server = await onFreePort((free) => {
    port = free;
    return DnsServer.start(
      [{ ip: "127.0.0.1", port }],
      { network: loopbackSockets, handler, connections, onLimit: () => metrics.limit("connections"), clock, logger },
      { idleTimeoutMs: options.tcpIdleTimeoutMs ?? 5000, maxPipelined: options.maxPipelined ?? 16 },
    );
  });
  const close = async (): Promise<void> => {
    closing.abort(new Error("The DNS server was closed"));
    await server.close();
  };
  return {
    mesh,
    metrics: registry,
    lines,
    pending,
    connections,
    handler,
    port,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A query as an ordinary resolver sends it. */
export function queryFor(name: string, type: RecordType = "A", more: Packet = {}): Buffer {
  return encode({ type: "query", id: 4711, flags: 0x0100, questions: [{ name, type }], ...more });
}

export async function askUdp(port: number, query: Buffer): Promise<Buffer> {
  const socket = createSocket("udp4");
  try {
    const answered = once(socket, "message") as Promise<[Buffer]>;
    socket.send(query, port, "127.0.0.1");
    return (await answered)[0];
  } finally {
    socket.close();
  }
}

/** Sends all queries at once and gives as many answers. */
export async function askTcp(port: number, ...queries: readonly Buffer[]): Promise<Buffer[]> {
  const socket = net.connect(port, "127.0.0.1");
  try {
    socket.write(Buffer.concat(queries.map(framed)));
    const answers: Buffer[] = [];
    let received = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const length = received.readUInt16BE(0);
        answers.push(received.subarray(2, 2 + length));
        received = received.subarray(2 + length);
      }
      if (answers.length === queries.length) break;
    }
    return answers;
  } finally {
    socket.destroy();
  }
}

/** What is said of addresses in an answer. */
export function addressesIn(answer: DecodedPacket | Buffer): readonly string[] {
  const packet = Buffer.isBuffer(answer) ? decode(answer) : answer;
  return (packet.answers ?? []).flatMap((record) =>
    record.type === "A" || record.type === "AAAA" ? [record.data] : [],
  );
}
