import {
  type CounterHandle,
  type GaugeHandle,
  type MetricFamily,
  type MetricRegistry,
  type ResponseFlag,
  responseFlags,
  type TrafficLabel,
  trafficLabels,
  type TrafficLabelValues,
} from "@hairpin/shared/telemetry";

/** The families that ztunnel has for connections, with its names and help texts. */
const trafficFamilies = {
  opened: {
    name: "istio_tcp_connections_opened_total",
    help: "The total number of TCP connections opened.",
    labels: trafficLabels,
  },
  closed: {
    name: "istio_tcp_connections_closed_total",
    help: "The total number of TCP connections closed.",
    labels: trafficLabels,
  },
  received: {
    name: "istio_tcp_received_bytes_total",
    help: "The size of total bytes received during request in case of a TCP connection.",
    labels: trafficLabels,
  },
  sent: {
    name: "istio_tcp_sent_bytes_total",
    help: "The size of total bytes sent during response in case of a TCP connection.",
    labels: trafficLabels,
  },
  failed: {
    name: "istio_tcp_connections_failed_total",
    help: "The total number of TCP connections that failed to establish (unstable).",
    labels: trafficLabels,
  },
  socketsOpen: {
    name: "istio_tcp_sockets_open",
    help: "The current number of open TCP sockets (unstable).",
    labels: ["reporter"],
  },
} as const;

/** The counters of all connections with the same labels. */
export interface TrafficSeries {
  /** Counts one connection as opened. */
  open(): void;
  addBytes(received: number, sent: number): void;
  /** Counts the end of one, as a failure too unless the flag is `-`. */
  close(flag: ResponseFlag): void;
}

interface Families {
  readonly opened: MetricFamily<TrafficLabel, CounterHandle>;
  readonly closed: MetricFamily<TrafficLabel, CounterHandle>;
  readonly received: MetricFamily<TrafficLabel, CounterHandle>;
  readonly sent: MetricFamily<TrafficLabel, CounterHandle>;
  readonly failed: MetricFamily<TrafficLabel, CounterHandle>;
  readonly socketsOpen: MetricFamily<"reporter", GaugeHandle>;
}

/** The `istio_tcp_*` metrics. */
export class TrafficMetrics {
  readonly #families: Families;

  /** `beforeExposition` runs before each exposition: it adds the bytes of connections that are open. */
  constructor(registry: MetricRegistry, beforeExposition: () => void) {
    this.#families = {
      // First of all, since its collector brings the byte counters up to date.
      socketsOpen: registry.gauge({ ...trafficFamilies.socketsOpen, collect: beforeExposition }),
      opened: registry.counter(trafficFamilies.opened),
      closed: registry.counter(trafficFamilies.closed),
      received: registry.counter(trafficFamilies.received),
      sent: registry.counter(trafficFamilies.sent),
      failed: registry.counter(trafficFamilies.failed),
    };
  }

  /** Costs as much as the rest of a connection's telemetry: keep what it gives. */
  series(labels: TrafficLabelValues): TrafficSeries {
    const { opened, closed, received, sent, failed, socketsOpen } = this.#families;
    const openedConnections = opened.handle(labels);
    const receivedBytes = received.handle(labels);
    const sentBytes = sent.handle(labels);
    const sockets = socketsOpen.handle({ reporter: labels.reporter });
    let closedProperly: CounterHandle | undefined;
    return {
      open: () => {
        openedConnections.add(1);
        sockets.add(1);
      },
      addBytes: (receivedNow, sentNow) => {
        receivedBytes.add(receivedNow);
        sentBytes.add(sentNow);
      },
      close: (flag) => {
        sockets.add(-1);
        if (flag === responseFlags.none) {
          closedProperly ??= closed.handle(labels);
          closedProperly.add(1);
          return;
        }
        const failedLabels = { ...labels, response_flags: flag };
        closed.handle(failedLabels).add(1);
        failed.handle(failedLabels).add(1);
      },
    };
  }
}
