import { randomInt } from "node:crypto";
import type { SocketAddress } from "@hairpin/shared/model";
import { type Clock, errorMessage } from "@hairpin/shared/process";
import type { PodNetwork } from "../pod-network.ts";
import { DnsError } from "./errors.ts";
import { exchangeTcp, exchangeUdp } from "./exchange.ts";
import { opcodes, plainUdpBytes, readHeader, responseCodes, withId } from "./message.ts";

export interface ForwarderComponents {
  /** Of the pod: what it may reach, its answers may come from. */
  readonly network: Pick<PodNetwork, "bindUdp" | "connect">;
  readonly clock: Clock;
  /** Aborted when the pod's DNS server is closed: queries under way end. */
  readonly signal: AbortSignal;
}

export interface ForwarderOptions {
  /** In the order in which they are asked. */
  readonly nameServers: readonly SocketAddress[];
  /** How long one server has for its answer. */
  readonly attemptTimeoutMs: number;
  /** For all attempts together; clients ask again after 5 s. */
  readonly timeoutMs: number;
}

/** Every server gets this many chances, as with glibc. */
const rounds = 2;
/** A name server that has trouble of its own: perhaps another has none. */
const troubleCodes: ReadonlySet<number> = new Set([responseCodes.serverFailure, responseCodes.refused]);

/** Sends queries on as they are, and gives the answers as they are; only the id is our own in between, so that nobody can guess it. */
export class Forwarder {
  readonly #components: ForwarderComponents;
  readonly #options: ForwarderOptions;
  /** The server that answered last is asked first: one that is dead costs its timeout once. */
  #first = 0;

  constructor(components: ForwarderComponents, options: ForwarderOptions) {
    this.#components = components;
    this.#options = options;
  }

  /**
   * The answer of the first server that has one; trouble (SERVFAIL, REFUSED) only if no other has a better answer. A client that came
   * by TCP never gets a truncated one. Rejects with `DNS_NO_NAME_SERVER`, or with the last server's failure.
   */
  async forward(query: Buffer, protocol: "udp" | "tcp"): Promise<Buffer> {
    const { nameServers, timeoutMs } = this.#options;
    const { clock, signal } = this.#components;
    const deadline = clock.now() + timeoutMs;
    const start = this.#first;
    let trouble: Buffer | undefined;
    let failure: unknown = new DnsError("DNS_NO_NAME_SERVER", "There is no name server to ask");
    for (let attempt = 0; attempt < rounds * nameServers.length; attempt++) {
      const isFirstRound = attempt < nameServers.length;
      // Trouble is an answer: the others are asked once, and nobody twice.
      if ((trouble && !isFirstRound) || clock.now() >= deadline) break;
      const index = (start + attempt) % nameServers.length;
      const server = nameServers[index];
      if (!server) break;
      try {
        const response = await this.#ask(server, query, protocol, deadline);
        if (!isTrouble(response)) {
          this.#first = index;
          return response;
        }
        trouble = response;
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    if (trouble) return trouble;
    if (failure instanceof DnsError) throw failure;
    throw new DnsError("DNS_UPSTREAM_FAILED", `No name server could be asked: ${errorMessage(failure)}`, failure);
  }

  async #ask(server: SocketAddress, query: Buffer, protocol: "udp" | "tcp", deadline: number): Promise<Buffer> {
    const { clock, network, signal } = this.#components;
    const sent = withId(query, randomInt(0x1_0000));
    const exchange = () => {
      const timeoutMs = Math.min(this.#options.attemptTimeoutMs, deadline - clock.now());
      return { network, server, query: sent, clock, timeoutMs, signal };
    };
    const response = mustUseTcp(query, protocol) ? await exchangeTcp(exchange()) : await exchangeUdp(exchange());
    const isCut = protocol === "tcp" && readHeader(response)?.isTruncated === true && !mustUseTcp(query, protocol);
    return withId(isCut ? await exchangeTcp(exchange()) : response, query.readUInt16BE(0));
  }
}

/** Large queries and updates that came by TCP go on by TCP: they may not fit UDP, and an update is better sent once. */
function mustUseTcp(query: Buffer, protocol: "udp" | "tcp"): boolean {
  return protocol === "tcp" && (query.length > plainUdpBytes || readHeader(query)?.opcode !== opcodes.query);
}

function isTrouble(response: Buffer): boolean {
  return troubleCodes.has(readHeader(response)?.responseCode ?? responseCodes.noError);
}
