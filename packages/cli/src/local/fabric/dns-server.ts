// Cluster DNS: answers for Services, NXDOMAIN for everything else. There is no upstream: pods have no way out.

import type { Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { adoptUdpSocket, createListener, createUdpSocket, type NetnsHandle } from "@hairpin/native";
import { AUTHORITATIVE_ANSWER, decode, encode, type Packet, type StringAnswer } from "dns-packet";
import { familyOf } from "./address-plan.ts";
import type { DnsRecords } from "./dns-records.ts";

const ttlSeconds = 5;
const noSuchName = 3;
const notImplemented = 4;
/** A TCP client that says nothing for this long is cut. */
const idleTimeoutMs = 10_000;
/** TCP clients at a time; more are refused. */
const maxTcpClients = 256;

/** The answer to one query. */
export function answerDnsQuery(query: Packet, records: DnsRecords): Packet {
  const questions = query.questions ?? [];
  const question = questions[0];
  const base: Packet = { type: "response", id: query.id ?? 0, questions };
  const flags = AUTHORITATIVE_ANSWER | ((query.flags ?? 0) & recursionDesired);
  if (questions.length !== 1 || question === undefined) return { ...base, flags: flags | notImplemented };
  const addresses = records.get(question.name.toLowerCase());
  if (addresses === undefined) return { ...base, flags: flags | noSuchName };
  const { name, type } = question;
  const wanted = type === "A" ? 4 : type === "AAAA" ? 6 : 0;
  const matching = addresses.filter((ip) => familyOf(ip) === wanted);
  const answers = matching.map((data): StringAnswer => ({ name, type: type as "A" | "AAAA", ttl: ttlSeconds, data }));
  return { ...base, flags, answers };
}

const recursionDesired = 1 << 8;

export interface DnsServerOptions {
  readonly netns: NetnsHandle;
  readonly ip: string;
  readonly records: () => DnsRecords;
}

/** Serves UDP and TCP on port 53 of an address of another network namespace. */
export class DnsServer {
  readonly #options: DnsServerOptions;
  #udp: UdpSocket | undefined;
  #tcp: Server | undefined;

  constructor(options: DnsServerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { netns, ip } = this.#options;
    const udp = await adoptUdpSocket(createUdpSocket({ netns, ip, port: 53 }));
    udp.on("message", (message, peer) => {
      const answer = this.#answer(message);
      // A lost answer is asked for again.
      if (answer !== undefined) udp.send(answer, peer.port, peer.address, () => {});
    });
    udp.on("error", () => {});
    this.#udp = udp;
    const tcp = createServer((socket) => this.#serveTcp(socket));
    tcp.maxConnections = maxTcpClients;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    tcp.once("error", reject);
    tcp.listen({ fd: createListener({ netns, ip, port: 53 }) }, resolve);
    this.#tcp = tcp;
    await promise;
  }

  stop(): void {
    this.#udp?.close();
    this.#tcp?.close();
  }

  #serveTcp(socket: Socket): void {
    let pending = Buffer.alloc(0);
    socket.setTimeout(idleTimeoutMs, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const length = pending.readUInt16BE(0);
        const answer = this.#answer(pending.subarray(2, 2 + length));
        pending = pending.subarray(2 + length);
        if (answer === undefined) {
          socket.destroy();
          return;
        }
        const head = Buffer.alloc(2);
        head.writeUInt16BE(answer.length);
        socket.write(Buffer.concat([head, answer]));
      }
    });
  }

  #answer(message: Buffer): Buffer | undefined {
    try {
      const query = decode(message);
      return query.type === "query" ? encode(answerDnsQuery(query, this.#options.records())) : undefined;
    } catch {
      // Not DNS.
      return undefined;
    }
  }
}
