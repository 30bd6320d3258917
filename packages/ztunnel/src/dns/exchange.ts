/** One question to one name server, and its answer; sockets of the pod, closed when the promise settles. */
import type { Clock } from "@hairpin/shared/process";
import { formatSocketAddress, type SocketAddress } from "@hairpin/shared/model";
import { createSocketChannel } from "@hairpin/wire";
import type { PodNetwork } from "../pod-network.ts";
import { DnsError } from "./errors.ts";
import { isResponseTo } from "./message.ts";
import { frameMessage, MessageReader } from "./tcp-framing.ts";

export interface Exchange {
  readonly network: Pick<PodNetwork, "bindUdp" | "connect">;
  readonly server: SocketAddress;
  readonly query: Buffer;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** Ends the exchange, which rejects with its reason. */
  readonly signal: AbortSignal;
}

/**
 * By UDP, from a port of its own that the kernel chose, connected: the kernel drops what others send, and tells of a server
 * that is not there. What is no response to this query is passed over. Rejects with `DNS_UPSTREAM_TIMEOUT` or the
 * kernel's code.
 */
export async function exchangeUdp(exchange: Exchange): Promise<Buffer> {
  const { network, server, query } = exchange;
  const socket = await network.bindUdp({ ip: server.ip.includes(":") ? "::" : "0.0.0.0", port: 0 });
  try {
    return await settle(exchange, (resolve, reject) => {
      socket.on("error", reject);
      socket.on("message", (message) => {
        if (isResponseTo(query, message)) resolve(message);
      });
      const onSent = (error: Error | null): void => {
        if (error) reject(error);
      };
      // Node gives the error of a failed connect to this callback, which its types do not know.
      socket.connect(server.port, server.ip, (error?: Error) => {
        if (error) reject(error);
        else socket.send(query, onSent);
      });
    });
  } finally {
    socket.close();
  }
}

/** By TCP, one connection for one query. Rejects with `DNS_UPSTREAM_FAILED`, `DNS_UPSTREAM_TIMEOUT` or the kernel's code. */
export async function exchangeTcp(exchange: Exchange): Promise<Buffer> {
  const { network, server, query, timeoutMs, clock } = exchange;
  const startedAt = clock.now();
  const socket = await network.connect(server, { timeoutMs });
  const channel = createSocketChannel(socket);
  const left = { ...exchange, timeoutMs: timeoutMs - (clock.now() - startedAt) };
  try {
    return await settle(left, (resolve, reject) => {
      const reader = new MessageReader();
      const fail = (what: string, cause?: unknown): void =>
        reject(new DnsError("DNS_UPSTREAM_FAILED", `Name server ${formatSocketAddress(server)} ${what}`, cause));
      channel.setHandler({
        onData(chunk) {
          const [message] = reader.push(chunk);
          if (!message) return;
          if (isResponseTo(query, message)) resolve(message);
          else fail("answered something else than was asked");
        },
        onEnd: () => fail("closed the connection without an answer"),
        onDrain() {},
        onClose: (error) => fail("closed the connection without an answer", error),
      });
      channel.resume();
      channel.write(frameMessage(query));
    });
  } finally {
    channel.destroy();
  }
}

type Settle = (resolve: (answer: Buffer) => void, reject: (error: unknown) => void) => void;

async function settle({ server, clock, timeoutMs, signal }: Exchange, begin: Settle): Promise<Buffer> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const onAbort = (): void => reject(signal.reason);
  const timer = clock.setTimer(Math.max(0, timeoutMs), () =>
    reject(new DnsError("DNS_UPSTREAM_TIMEOUT", `Name server ${formatSocketAddress(server)} did not answer in time`)),
  );
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    begin(resolve, reject);
    return await promise;
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", onAbort);
  }
}
