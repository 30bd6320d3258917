import { errorCode } from "@hairpin/shared/process";
import type { CounterHandle, MetricFamily, MetricRegistry } from "@hairpin/shared/telemetry";
import { formatErrorCode, type Http2Limit, type Http2SessionHandler } from "@hairpin/wire";
import { HboneError } from "./errors.ts";

/** Whose connection: one that was accepted (`downstream`) or one that we dialled (`upstream`). */
export type SessionSide = "downstream" | "upstream";
/** What a session carries: tunnels of other proxies, or requests of applications inside of tunnels. */
export type SessionKind = "tunnels" | "requests";

/** Limits that bit, those of time included. */
export type SessionLimit = Http2Limit | "settingsTimeout" | "headersTimeout";

/** Error codes that are a reason of their own in the metric; others are `connection`. */
const knownCode = /^(?:HBONE|HTTP2|TLS)_[A-Z0-9_]+$/;

/** Counts what peers did that sessions do not put up with. The families are the same in every process. */
export class SessionMetrics {
  readonly #refused: MetricFamily<"side" | "reason", CounterHandle>;
  readonly #failed: MetricFamily<"side" | "reason", CounterHandle>;
  readonly #limits: MetricFamily<"side" | "session" | "limit", CounterHandle>;
  readonly #streamFaults: MetricFamily<"side" | "session" | "code", CounterHandle>;

  constructor(registry: MetricRegistry) {
    this.#refused = registry.counter({
      name: "hairpin_hbone_peers_refused_total",
      help: "Connections whose TLS handshake failed or whose peer was refused by its certificate.",
      labels: ["side", "reason"],
    });
    this.#failed = registry.counter({
      name: "hairpin_hbone_sessions_failed_total",
      help: "Sessions that ended by a fault, a limit or a timeout.",
      labels: ["side", "reason"],
    });
    this.#limits = registry.counter({
      name: "hairpin_http2_limits_total",
      help: "How often a limit of HTTP/2 bit.",
      labels: ["side", "session", "limit"],
    });
    this.#streamFaults = registry.counter({
      name: "hairpin_http2_stream_faults_total",
      help: "Streams reset since the peer broke a rule on them.",
      labels: ["side", "session", "code"],
    });
  }

  /** A handshake failed or a peer was refused. `reason`: the error's `details.reason`. */
  peerRefused(side: SessionSide, error: unknown): void {
    const reason = error instanceof HboneError ? error.details["reason"] : undefined;
    this.#refused.handle({ side, reason: typeof reason === "string" ? reason : "connection" }).add(1);
  }

  /** A session closed; without an error it ended well and does not count. */
  sessionClosed(side: SessionSide, error: Error | undefined): void {
    if (error === undefined) return;
    const code = errorCode(error) ?? "";
    this.#failed.handle({ side, reason: knownCode.test(code) ? code : "connection" }).add(1);
  }

  /** The session's part of what is counted; add it to the session's handler. */
  sessionHandler(side: SessionSide, session: SessionKind): Pick<Http2SessionHandler, "onLimit" | "onStreamFault"> {
    return {
      onLimit: (limit) => this.limitHit(side, session, limit),
      onStreamFault: (code) => this.#streamFaults.handle({ side, session, code: formatErrorCode(code) }).add(1),
    };
  }

  limitHit(side: SessionSide, session: SessionKind, limit: SessionLimit): void {
    this.#limits.handle({ side, session, limit }).add(1);
  }
}
