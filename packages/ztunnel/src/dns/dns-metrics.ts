import type { Workload } from "@hairpin/shared/model";
import type { CounterHandle, HistogramHandle, MetricFamily, MetricRegistry } from "@hairpin/shared/telemetry";

const dnsLabels = [
  "request_query_type",
  "request_protocol",
  "source_canonical_service",
  "source_canonical_revision",
] as const;
type DnsLabel = (typeof dnsLabels)[number];

/** ztunnel's names and help texts (ztunnel.md §10.1). */
const dnsFamilies = {
  requests: { name: "istio_dns_requests_total", help: "Total number of DNS requests (unstable).", labels: dnsLabels },
  upstreamRequests: {
    name: "istio_dns_upstream_requests_total",
    help: "Total number of DNS requests forwarded to upstream (unstable).",
    labels: dnsLabels,
  },
  upstreamFailures: {
    name: "istio_dns_upstream_failures_total",
    help: "Total number of DNS requests forwarded to upstream that got no answer (unstable).",
    labels: dnsLabels,
  },
  upstreamDuration: {
    name: "istio_dns_upstream_request_duration_seconds",
    help: "Total time in seconds Istio takes to get DNS response from upstream (unstable).",
    labels: dnsLabels,
    buckets: [0.0005, 0.001, 0.01, 0.1, 1, 5],
  },
} as const;

/** The types that people ask for; others share a label, since a pod may ask for 65,536 of them. */
const typeNames: ReadonlyMap<number, string> = new Map([
  [1, "a"],
  [2, "ns"],
  [5, "cname"],
  [6, "soa"],
  [12, "ptr"],
  [15, "mx"],
  [16, "txt"],
  [28, "aaaa"],
  [33, "srv"],
  [35, "naptr"],
  [43, "ds"],
  [48, "dnskey"],
  [52, "tlsa"],
  [64, "svcb"],
  [65, "https"],
  [249, "tkey"],
  [251, "ixfr"],
  [252, "axfr"],
  [255, "any"],
  [257, "caa"],
]);

export function formatQueryType(type: number | undefined): string {
  return typeNames.get(type ?? -1) ?? "unknown";
}

/** What reached one of our bounds. */
export type DnsLimit = "queries" | "connections";

/** One query that is sent on. */
export interface ForwardedQuery {
  end(seconds: number, failed: boolean): void;
}

/** The counters of one query, whoever sent it. */
export interface QueryMetrics {
  forward(): ForwardedQuery;
}

/** The `istio_dns_*` metrics. */
export class DnsMetrics {
  readonly #requests: MetricFamily<DnsLabel, CounterHandle>;
  readonly #upstreamRequests: MetricFamily<DnsLabel, CounterHandle>;
  readonly #upstreamFailures: MetricFamily<DnsLabel, CounterHandle>;
  readonly #upstreamDuration: MetricFamily<DnsLabel, HistogramHandle>;
  readonly #limited: MetricFamily<"limit", CounterHandle>;

  constructor(registry: MetricRegistry) {
    this.#requests = registry.counter(dnsFamilies.requests);
    this.#upstreamRequests = registry.counter(dnsFamilies.upstreamRequests);
    this.#upstreamFailures = registry.counter(dnsFamilies.upstreamFailures);
    this.#upstreamDuration = registry.histogram(dnsFamilies.upstreamDuration);
    this.#limited = registry.counter({
      name: "hairpin_ztunnel_dns_limited_total",
      help: "DNS queries answered with SERVFAIL, and DNS connections closed, because there were too many at once.",
      labels: ["limit"],
    });
  }

  /** Counts a query. */
  open(type: number | undefined, protocol: "udp" | "tcp", source: Workload | undefined): QueryMetrics {
    const labels = {
      request_query_type: formatQueryType(type),
      request_protocol: protocol,
      source_canonical_service: source?.canonicalName || "unknown",
      source_canonical_revision: source?.canonicalRevision || "unknown",
    };
    this.#requests.handle(labels).add(1);
    return {
      forward: () => {
        this.#upstreamRequests.handle(labels).add(1);
        const duration = this.#upstreamDuration.handle(labels);
        return {
          end: (seconds, failed) => {
            duration.observe(seconds);
            if (failed) this.#upstreamFailures.handle(labels).add(1);
          },
        };
      },
    };
  }

  limit(limit: DnsLimit): void {
    this.#limited.handle({ limit }).add(1);
  }
}
