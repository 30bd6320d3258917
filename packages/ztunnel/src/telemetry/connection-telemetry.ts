import type { RelayCounters } from "@hairpin/hbone";
import { formatSocketAddress, type SocketAddress } from "@hairpin/shared/model";
import type { Clock } from "@hairpin/shared/process";
import {
  type AccessLog,
  type CounterHandle,
  type MetricFamily,
  type MetricRegistry,
  responseFlags,
} from "@hairpin/shared/telemetry";
import { describeFailure } from "../response-flag.ts";
import {
  accessLogEntry,
  accessLogParties,
  type ConnectionDescription,
  type ConnectionOutcome,
} from "./connection-description.ts";
import { SeriesCache } from "./series-cache.ts";
import { TrafficMetrics, type TrafficSeries } from "./traffic-metrics.ts";

/** How a connection ended, with the error as it was thrown. */
type ConnectionEnd = Omit<ConnectionOutcome, "error"> & { readonly error?: unknown };

/** One connection under observation, from its opening (before anything is dialled) to its end. */
export interface ObservedConnection {
  /** Live byte counts: give them to the relay. */
  readonly counters: RelayCounters;
  /** Call once; further calls do nothing. An `error` decides the response flag and the log level. */
  close(end?: ConnectionEnd): void;
}

/** Counts and logs every connection. Byte metrics are brought up to date when they are read, not per chunk. */
export class ConnectionTelemetry {
  readonly #series: SeriesCache;
  readonly #accessLog: AccessLog;
  readonly #clock: Clock;
  readonly #failedEarly: MetricFamily<"direction", CounterHandle>;
  readonly #open = new Set<OpenConnection>();

  constructor(components: { readonly metrics: MetricRegistry; readonly accessLog: AccessLog; readonly clock: Clock }) {
    this.#series = new SeriesCache(new TrafficMetrics(components.metrics, () => this.#collect()));
    this.#accessLog = components.accessLog;
    this.#clock = components.clock;
    this.#failedEarly = components.metrics.counter({
      name: "hairpin_ztunnel_connections_failed_early_total",
      help: "Connections and CONNECTs that ended before it was known whom they concern.",
      labels: ["direction"],
    });
  }

  /** Counts the connection as opened. `openedAt` is when it was accepted, on the clock. */
  open(description: ConnectionDescription, openedAt: number): ObservedConnection {
    const series = this.#series.of(description);
    series.open();
    const parties = accessLogParties(description);
    this.#accessLog.connectionOpened(parties);
    const connection = new OpenConnection(series, (outcome) => {
      this.#open.delete(connection);
      const durationMs = this.#clock.now() - openedAt;
      this.#accessLog.connectionComplete(accessLogEntry(parties, connection.counters, durationMs, outcome));
    });
    this.#open.add(connection);
    return connection;
  }

  /** A connection that ended before it was known who it belongs to: logged, and not counted with the traffic. */
  failEarly(
    direction: "inbound" | "outbound",
    addresses: { readonly source: SocketAddress; readonly destination: SocketAddress },
    error: string,
  ): void {
    this.#failedEarly.handle({ direction }).add(1);
    this.#accessLog.connectionFailed({
      sourceAddress: formatSocketAddress(addresses.source),
      destinationAddress: formatSocketAddress(addresses.destination),
      direction,
      error,
    });
  }

  #collect(): void {
    for (const connection of this.#open) connection.collect();
  }
}

class OpenConnection implements ObservedConnection {
  readonly counters: RelayCounters = { bytesReceived: 0, bytesSent: 0 };
  readonly #series: TrafficSeries;
  readonly #onClosed: (outcome: ConnectionOutcome) => void;
  #collectedReceived = 0;
  #collectedSent = 0;
  #closed = false;

  constructor(series: TrafficSeries, onClosed: (outcome: ConnectionOutcome) => void) {
    this.#series = series;
    this.#onClosed = onClosed;
  }

  collect(): void {
    const { bytesReceived, bytesSent } = this.counters;
    this.#series.addBytes(bytesReceived - this.#collectedReceived, bytesSent - this.#collectedSent);
    this.#collectedReceived = bytesReceived;
    this.#collectedSent = bytesSent;
  }

  close(end: ConnectionEnd = {}): void {
    if (this.#closed) return;
    this.#closed = true;
    this.collect();
    const failure = end.error === undefined ? undefined : describeFailure(end.error);
    this.#series.close(failure?.flag ?? responseFlags.none);
    this.#onClosed({ ...end, error: failure?.text });
  }
}
