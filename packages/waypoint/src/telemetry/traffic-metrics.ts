import type { RelayCounters } from "@hairpin/hbone";
import type {
  CounterHandle,
  GaugeHandle,
  HistogramHandle,
  MetricFamily,
  MetricRegistry,
} from "@hairpin/shared/telemetry";

/** Labels of Istio's standard metrics (istio-ambient.md §11.1). */
const commonLabels = [
  "reporter",
  "source_workload",
  "source_canonical_service",
  "source_canonical_revision",
  "source_workload_namespace",
  "source_principal",
  "source_app",
  "source_version",
  "source_cluster",
  "destination_workload",
  "destination_workload_namespace",
  "destination_principal",
  "destination_app",
  "destination_version",
  "destination_service",
  "destination_canonical_service",
  "destination_canonical_revision",
  "destination_service_name",
  "destination_service_namespace",
  "destination_cluster",
  "request_protocol",
  "response_flags",
  "connection_security_policy",
] as const;

type CommonLabel = (typeof commonLabels)[number];
type HttpLabel = CommonLabel | "response_code" | "grpc_response_status";
const httpLabels: readonly HttpLabel[] = [...commonLabels, "response_code", "grpc_response_status"];
export type CommonLabels = Readonly<Record<CommonLabel, string>>;
export type HttpLabels = Readonly<Record<HttpLabel, string>>;

/** Envoy's default buckets; Istio uses them for milliseconds and for bytes alike. */
const buckets = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];

/** The metric families of a waypoint; docs/metrics.md has a row for each. */
const waypointFamilies = {
  requests: { name: "istio_requests_total", help: "Requests that were answered.", labels: httpLabels },
  duration: {
    name: "istio_request_duration_milliseconds",
    help: "Time from the first byte of a request to the end of its exchange.",
    labels: httpLabels,
    buckets,
  },
  requestBytes: {
    name: "istio_request_bytes",
    help: "Bytes of requests, heads included.",
    labels: httpLabels,
    buckets,
  },
  responseBytes: {
    name: "istio_response_bytes",
    help: "Bytes of responses, heads included.",
    labels: httpLabels,
    buckets,
  },
  requestMessages: {
    name: "istio_request_messages_total",
    help: "gRPC messages sent by clients.",
    labels: httpLabels,
  },
  responseMessages: {
    name: "istio_response_messages_total",
    help: "gRPC messages sent to clients.",
    labels: httpLabels,
  },
  opened: { name: "istio_tcp_connections_opened_total", help: "TCP connections opened.", labels: commonLabels },
  closed: { name: "istio_tcp_connections_closed_total", help: "TCP connections closed.", labels: commonLabels },
  received: {
    name: "istio_tcp_received_bytes_total",
    help: "Bytes received from clients of TCP connections.",
    labels: commonLabels,
  },
  sent: { name: "istio_tcp_sent_bytes_total", help: "Bytes sent to clients of TCP connections.", labels: commonLabels },
  connectionsOpen: {
    name: "hairpin_waypoint_connections_open",
    help: "Byte connections being relayed.",
  },
  refused: {
    name: "hairpin_waypoint_tunnels_refused_total",
    help: "Tunnels that were refused, by reason.",
    labels: ["reason"],
  },
  sessionsRefused: {
    name: "hairpin_waypoint_sessions_refused_total",
    help: "Connections closed since the waypoint serves as many sessions as it may.",
    labels: [],
  },
  ignoredHairpinHeaders: {
    name: "hairpin_waypoint_ignored_hairpin_headers_total",
    help: "x-hairpin-source headers from peers that are not believed.",
    labels: [],
  },
} as const;

export interface FinishedRequest {
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly requestMessages: number;
  readonly responseMessages: number;
}

/** A byte connection being counted. */
export interface ObservedConnection {
  /** Call once, at its end. */
  close(): void;
}

/** What requests with the same labels are counted by. */
export class HttpSeries {
  readonly #requests: CounterHandle;
  readonly #duration: HistogramHandle;
  readonly #requestBytes: HistogramHandle;
  readonly #responseBytes: HistogramHandle;
  readonly #requestMessages: CounterHandle | undefined;
  readonly #responseMessages: CounterHandle | undefined;

  constructor(handles: {
    readonly requests: CounterHandle;
    readonly duration: HistogramHandle;
    readonly requestBytes: HistogramHandle;
    readonly responseBytes: HistogramHandle;
    readonly requestMessages: CounterHandle | undefined;
    readonly responseMessages: CounterHandle | undefined;
  }) {
    this.#requests = handles.requests;
    this.#duration = handles.duration;
    this.#requestBytes = handles.requestBytes;
    this.#responseBytes = handles.responseBytes;
    this.#requestMessages = handles.requestMessages;
    this.#responseMessages = handles.responseMessages;
  }

  add(finished: FinishedRequest, durationMs: number): void {
    this.#requests.add(1);
    this.#duration.observe(durationMs);
    this.#requestBytes.observe(finished.requestBytes);
    this.#responseBytes.observe(finished.responseBytes);
    this.#requestMessages?.add(finished.requestMessages);
    this.#responseMessages?.add(finished.responseMessages);
  }
}

/** Series whose handles are kept at hand; beyond it they are looked up again. */
const maxCachedHandles = 4096;

/** The waypoint's metrics. */
export class TrafficMetrics {
  readonly #requests: MetricFamily<HttpLabel, CounterHandle>;
  readonly #duration: MetricFamily<HttpLabel, HistogramHandle>;
  readonly #requestBytes: MetricFamily<HttpLabel, HistogramHandle>;
  readonly #responseBytes: MetricFamily<HttpLabel, HistogramHandle>;
  readonly #requestMessages: MetricFamily<HttpLabel, CounterHandle>;
  readonly #responseMessages: MetricFamily<HttpLabel, CounterHandle>;
  readonly #opened: MetricFamily<CommonLabel, CounterHandle>;
  readonly #closed: MetricFamily<CommonLabel, CounterHandle>;
  readonly #received: MetricFamily<CommonLabel, CounterHandle>;
  readonly #sent: MetricFamily<CommonLabel, CounterHandle>;
  readonly #refused: MetricFamily<"reason", CounterHandle>;
  readonly #sessionsRefused: CounterHandle;
  readonly #ignoredHeaders: CounterHandle;
  readonly #connectionsOpen: GaugeHandle;
  readonly #connections = new Set<OpenConnection>();
  readonly #httpSeries = new Map<string, HttpSeries>();

  constructor(registry: MetricRegistry) {
    // First of all, since its collector brings the byte counters up to date.
    const open = registry.gauge({ ...waypointFamilies.connectionsOpen, collect: () => this.#collect() }).handle({});
    this.#connectionsOpen = open;
    this.#requests = registry.counter(waypointFamilies.requests);
    this.#duration = registry.histogram(waypointFamilies.duration);
    this.#requestBytes = registry.histogram(waypointFamilies.requestBytes);
    this.#responseBytes = registry.histogram(waypointFamilies.responseBytes);
    this.#requestMessages = registry.counter(waypointFamilies.requestMessages);
    this.#responseMessages = registry.counter(waypointFamilies.responseMessages);
    this.#opened = registry.counter(waypointFamilies.opened);
    this.#closed = registry.counter(waypointFamilies.closed);
    this.#received = registry.counter(waypointFamilies.received);
    this.#sent = registry.counter(waypointFamilies.sent);
    this.#refused = registry.counter(waypointFamilies.refused);
    this.#sessionsRefused = registry.counter(waypointFamilies.sessionsRefused).handle({});
    this.#ignoredHeaders = registry.counter(waypointFamilies.ignoredHairpinHeaders).handle({});
  }

  /**
   * What counts requests. `key` stands for the labels, which are made only when it is new: rendering 25 labels four times
   * over would cost more than the routing of the request.
   */
  httpSeries(key: string, labels: () => HttpLabels): HttpSeries {
    let series = this.#httpSeries.get(key);
    if (!series) {
      series = this.#resolve(labels());
      if (this.#httpSeries.size >= maxCachedHandles) this.#httpSeries.clear();
      this.#httpSeries.set(key, series);
    }
    return series;
  }

  /** Counts a byte connection as opened; its bytes are taken from `counters` whenever the metrics are read. */
  connectionOpened(labels: CommonLabels, counters: RelayCounters): ObservedConnection {
    this.#opened.handle(labels).add(1);
    const connection = new OpenConnection(counters, this.#received.handle(labels), this.#sent.handle(labels));
    this.#connections.add(connection);
    return {
      close: () => {
        connection.collect();
        this.#connections.delete(connection);
        this.#closed.handle(labels).add(1);
      },
    };
  }

  /** Counts a byte connection that ended before anything flowed; the flag in `labels` says why. */
  connectionFailed(labels: CommonLabels): void {
    this.#opened.handle({ ...labels, response_flags: "-" }).add(1);
    this.#closed.handle(labels).add(1);
  }

  tunnelRefused(reason: "unmanaged" | "bad-request" | "denied"): void {
    this.#refused.handle({ reason }).add(1);
  }

  sessionRefused(): void {
    this.#sessionsRefused.add(1);
  }

  hairpinHeaderIgnored(): void {
    this.#ignoredHeaders.add(1);
  }

  #resolve(labels: HttpLabels): HttpSeries {
    const isGrpc = labels.request_protocol === "grpc";
    return new HttpSeries({
      requests: this.#requests.handle(labels),
      duration: this.#duration.handle(labels),
      requestBytes: this.#requestBytes.handle(labels),
      responseBytes: this.#responseBytes.handle(labels),
      requestMessages: isGrpc ? this.#requestMessages.handle(labels) : undefined,
      responseMessages: isGrpc ? this.#responseMessages.handle(labels) : undefined,
    });
  }

  #collect(): void {
    this.#connectionsOpen.set(this.#connections.size);
    for (const connection of this.#connections) connection.collect();
  }
}

class OpenConnection {
  readonly #counters: RelayCounters;
  readonly #received: CounterHandle;
  readonly #sent: CounterHandle;
  #collectedReceived = 0;
  #collectedSent = 0;

  constructor(counters: RelayCounters, received: CounterHandle, sent: CounterHandle) {
    this.#counters = counters;
    this.#received = received;
    this.#sent = sent;
  }

  /** Adds what flowed since the last time. */
  collect(): void {
    const { bytesReceived, bytesSent } = this.#counters;
    this.#received.add(bytesReceived - this.#collectedReceived);
    this.#sent.add(bytesSent - this.#collectedSent);
    this.#collectedReceived = bytesReceived;
    this.#collectedSent = bytesSent;
  }
}
