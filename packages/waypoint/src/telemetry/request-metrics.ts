import type { CounterHandle, HistogramHandle, MetricFamily, MetricRegistry } from "@hairpin/shared/telemetry";

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
const httpLabels = [...commonLabels, "response_code", "grpc_response_status"] as const;

export type CommonLabels = Readonly<Record<(typeof commonLabels)[number], string>>;
export type HttpLabels = CommonLabels & { readonly response_code: string; readonly grpc_response_status: string };

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
  opened: { name: "istio_tcp_connections_opened_total", help: "TCP connections opened.", labels: commonLabels },
  closed: { name: "istio_tcp_connections_closed_total", help: "TCP connections closed.", labels: commonLabels },
  received: {
    name: "istio_tcp_received_bytes_total",
    help: "Bytes received from clients of TCP connections.",
    labels: commonLabels,
  },
  sent: { name: "istio_tcp_sent_bytes_total", help: "Bytes sent to clients of TCP connections.", labels: commonLabels },
  refused: {
    name: "hairpin_waypoint_tunnels_refused_total",
    help: "Tunnels that were refused, by reason.",
    labels: ["reason"],
  },
  ignoredHairpinHeaders: {
    name: "hairpin_waypoint_ignored_hairpin_headers_total",
    help: "x-hairpin-source headers from peers that are not believed.",
    labels: [],
  },
} as const;

export interface FinishedRequest {
  readonly durationMs: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
}

export interface TcpHandles {
  addBytes(received: number, sent: number): void;
  close(): void;
}

type HttpLabel = (typeof httpLabels)[number];
type CommonLabel = (typeof commonLabels)[number];

/** The waypoint's metrics. */
export class RequestMetrics {
  readonly #requests: MetricFamily<HttpLabel, CounterHandle>;
  readonly #duration: MetricFamily<HttpLabel, HistogramHandle>;
  readonly #requestBytes: MetricFamily<HttpLabel, HistogramHandle>;
  readonly #responseBytes: MetricFamily<HttpLabel, HistogramHandle>;
  readonly #opened: MetricFamily<CommonLabel, CounterHandle>;
  readonly #closed: MetricFamily<CommonLabel, CounterHandle>;
  readonly #received: MetricFamily<CommonLabel, CounterHandle>;
  readonly #sent: MetricFamily<CommonLabel, CounterHandle>;
  readonly #refused: MetricFamily<"reason", CounterHandle>;
  readonly #ignoredHeaders: CounterHandle;

  constructor(registry: MetricRegistry) {
    this.#requests = registry.counter(waypointFamilies.requests);
    this.#duration = registry.histogram(waypointFamilies.duration);
    this.#requestBytes = registry.histogram(waypointFamilies.requestBytes);
    this.#responseBytes = registry.histogram(waypointFamilies.responseBytes);
    this.#opened = registry.counter(waypointFamilies.opened);
    this.#closed = registry.counter(waypointFamilies.closed);
    this.#received = registry.counter(waypointFamilies.received);
    this.#sent = registry.counter(waypointFamilies.sent);
    this.#refused = registry.counter(waypointFamilies.refused);
    this.#ignoredHeaders = registry.counter(waypointFamilies.ignoredHairpinHeaders).handle({});
  }

  requestFinished(labels: HttpLabels, finished: FinishedRequest): void {
    this.#requests.handle(labels).add(1);
    this.#duration.handle(labels).observe(finished.durationMs);
    this.#requestBytes.handle(labels).observe(finished.requestBytes);
    this.#responseBytes.handle(labels).observe(finished.responseBytes);
  }

  connectionOpened(labels: CommonLabels): TcpHandles {
    const received = this.#received.handle(labels);
    const sent = this.#sent.handle(labels);
    this.#opened.handle(labels).add(1);
    return {
      addBytes: (receivedNow, sentNow) => {
        received.add(receivedNow);
        sent.add(sentNow);
      },
      close: () => this.#closed.handle(labels).add(1),
    };
  }

  tunnelRefused(reason: "unmanaged" | "bad-request" | "denied"): void {
    this.#refused.handle({ reason }).add(1);
  }

  hairpinHeaderIgnored(): void {
    this.#ignoredHeaders.add(1);
  }
}
