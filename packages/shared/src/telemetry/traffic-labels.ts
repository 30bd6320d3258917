/** The labels of Istio's `istio_tcp_*` families in ztunnel's order (its proxy/metrics.rs). Each is always written; not known: `unknown`. */
export const trafficLabels = [
  "reporter",
  "source_workload",
  "source_canonical_service",
  "source_canonical_revision",
  "source_workload_namespace",
  "source_principal",
  "source_app",
  "source_version",
  "source_cluster",
  "destination_service",
  "destination_service_namespace",
  "destination_service_name",
  "destination_workload",
  "destination_canonical_service",
  "destination_canonical_revision",
  "destination_workload_namespace",
  "destination_principal",
  "destination_app",
  "destination_version",
  "destination_cluster",
  "request_protocol",
  "response_flags",
  "connection_security_policy",
  "source_region",
  "source_zone",
  "destination_region",
  "destination_zone",
] as const;

export type TrafficLabel = (typeof trafficLabels)[number];
export type TrafficLabelValues = Readonly<Record<TrafficLabel, string>>;

/** A complete label set from what is known: absent and empty values become `unknown`. */
export function completeTrafficLabels(
  known: Readonly<Partial<Record<TrafficLabel, string | undefined>>>,
): TrafficLabelValues {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the loop fills in every label
  const values = {} as Record<TrafficLabel, string>;
  for (const label of trafficLabels) values[label] = known[label] || "unknown";
  return values;
}

/** Why a connection failed, as the label `response_flags` says it. */
export const responseFlags = {
  none: "-",
  denied: "DENY",
  connectFailure: "CONNECT",
  tlsFailure: "TLS_FAILURE",
  http2HandshakeFailure: "H2_HANDSHAKE_FAILURE",
  networkPolicy: "NETWORK_POLICY",
  identityError: "IDENTITY_ERROR",
  certificateRevoked: "CERT_REVOKED",
} as const;
export type ResponseFlag = (typeof responseFlags)[keyof typeof responseFlags];
