import { status } from "@grpc/grpc-js";
import type { TerminationReason } from "./client-metrics.ts";

/** How a stream to the control plane ended. */
export interface StreamEnd {
  /** False: it never got as far as an HTTP/2 connection. */
  readonly connected: boolean;
  /** True once the server had sent a response. */
  readonly responded: boolean;
  /** gRPC status. */
  readonly code: status;
  readonly details: string;
}

export interface NextAttempt {
  readonly reason: TerminationReason;
  readonly delayMs: number;
}

const minDelayMs = 10;
const maxDelayMs = 15_000;

/** A server or a proxy between went away in the ordinary course of things. */
const ordinaryEnds: readonly status[] = [
  status.UNKNOWN,
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.UNAVAILABLE,
];

/**
 * When to try again (ztunnel.md §6): at once after a clean end, 10 ms after an ordinary break, else 10 ms doubling to 15 s,
 * ±20 % so that many proxies do not come back together. A stream that never carried a response counts as a failure
 * however it ended: a server that accepts and hangs up must not be hammered (ztunnel would).
 */
export class ReconnectBackoff {
  readonly #random: () => number;
  #delayMs = minDelayMs;

  constructor(random: () => number) {
    this.#random = random;
  }

  next(end: StreamEnd): NextAttempt {
    if (end.responded) this.#delayMs = minDelayMs;
    if (end.responded && end.code === status.OK) return { reason: "Complete", delayMs: 0 };
    if (end.responded && ordinaryEnds.includes(end.code)) return { reason: "Reconnect", delayMs: minDelayMs };
    const delayMs = this.#delayMs * (0.8 + 0.4 * this.#random());
    this.#delayMs = Math.min(maxDelayMs, this.#delayMs * 2);
    return { reason: end.connected ? (end.code === status.OK ? "Complete" : "Error") : "ConnectionError", delayMs };
  }
}
