import type { RelayCounters } from "@hairpin/hbone";
import type { Decision } from "@hairpin/shared/authz";
import type { Identity, Service, SocketAddress, Workload } from "@hairpin/shared/model";
import { formatSocketAddress, formatSpiffeId } from "@hairpin/shared/model";
import {
  type AccessLogEntry,
  completeTrafficLabels,
  responseFlags,
  type TrafficLabel,
  type TrafficLabelValues,
} from "@hairpin/shared/telemetry";

/** Who talks to whom on one connection, as metrics and the access log tell it. */
export interface ConnectionDescription {
  readonly direction: "inbound" | "outbound";
  readonly sourceAddress: SocketAddress;
  readonly source: Workload | undefined;
  /** Proved by mTLS. Undefined: plaintext. */
  readonly sourceIdentity: Identity | undefined;
  /** Where the connection goes on the wire: the tunnel's address for HBONE. */
  readonly destinationAddress: SocketAddress;
  /** The authority inside the tunnel. */
  readonly hboneAddress: string | undefined;
  readonly destination: Workload | undefined;
  readonly service: Pick<Service, "hostname" | "name" | "namespace"> | undefined;
  readonly mutualTls: boolean;
}

/** How a connection ended. */
export interface ConnectionOutcome {
  /** The access log's `error`; undefined: both sides ended properly. */
  readonly error?: string | undefined;
  /** The L4 policy that refused. */
  readonly decision?: Decision | undefined;
  /** `namespace/name` of the waypoint that the connection was hairpinned to. */
  readonly hairpin?: string | undefined;
}

/** The labels of one connection (ztunnel.md §10.1): principals are what was proved, and the workload entry's for the destination. */
export function trafficLabelsOf(connection: ConnectionDescription): TrafficLabelValues {
  const { source, destination, service, sourceIdentity } = connection;
  return completeTrafficLabels({
    reporter: connection.direction === "outbound" ? "source" : "destination",
    source_workload: source?.workloadName,
    source_canonical_service: source?.canonicalName,
    source_canonical_revision: source?.canonicalRevision,
    source_workload_namespace: source?.namespace,
    source_principal: sourceIdentity && formatSpiffeId(sourceIdentity),
    source_app: source?.canonicalName,
    source_version: source?.canonicalRevision,
    source_cluster: source?.clusterId,
    destination_service: service?.hostname,
    destination_service_namespace: service?.namespace,
    destination_service_name: service?.name,
    destination_workload: destination?.workloadName,
    destination_canonical_service: destination?.canonicalName,
    destination_canonical_revision: destination?.canonicalRevision,
    destination_workload_namespace: destination?.namespace,
    destination_principal: destination && formatSpiffeId(destination),
    destination_app: destination?.canonicalName,
    destination_version: destination?.canonicalRevision,
    destination_cluster: destination?.clusterId,
    request_protocol: "tcp",
    response_flags: responseFlags.none,
    connection_security_policy: connection.mutualTls ? "mutual_tls" : undefined,
    source_region: source?.locality.region,
    source_zone: source?.locality.zone,
    destination_region: destination?.locality.region,
    destination_zone: destination?.locality.zone,
  } satisfies Record<TrafficLabel, string | undefined>);
}

/** The two ends as the access log's lines name them. */
export type AccessLogParties = Pick<AccessLogEntry, "source" | "destination" | "direction">;

export function accessLogParties(connection: ConnectionDescription): AccessLogParties {
  const { source, destination, mutualTls } = connection;
  return {
    source: {
      address: formatSocketAddress(connection.sourceAddress),
      workload: source?.name,
      namespace: source?.namespace,
      identity: sourceIdentityText(connection),
      cluster: source?.clusterId,
    },
    destination: {
      address: formatSocketAddress(connection.destinationAddress),
      hboneAddress: connection.hboneAddress,
      service: connection.service?.hostname,
      workload: destination?.name,
      namespace: destination?.namespace,
      identity: mutualTls && destination ? formatSpiffeId(destination) : undefined,
      cluster: destination?.clusterId,
    },
    direction: connection.direction,
  };
}

/**
 * A connection's line when it ended: ztunnel's fields, then ours: for a refusal by policy the policy, its rule and whom it
 * refused; for a hairpinned connection the waypoint.
 */
export function accessLogEntry(
  parties: AccessLogParties,
  counters: RelayCounters,
  durationMs: number,
  outcome: ConnectionOutcome,
): AccessLogEntry {
  const outbound = parties.direction === "outbound";
  return {
    ...parties,
    bytesSent: outbound ? counters.bytesReceived : counters.bytesSent,
    bytesReceived: outbound ? counters.bytesSent : counters.bytesReceived,
    durationMs,
    error: outcome.error,
    extra: { ...refusalFields(outcome.decision, parties.source.identity), hairpin: outcome.hairpin },
  };
}

function sourceIdentityText({ mutualTls, sourceIdentity }: ConnectionDescription): string | undefined {
  return mutualTls && sourceIdentity ? formatSpiffeId(sourceIdentity) : undefined;
}

function refusalFields(decision: Decision | undefined, identity: string | undefined): Record<string, unknown> {
  if (!decision || decision.allowed) return {};
  return {
    policy: decision.policy ?? decision.unmatchedAllow?.join(","),
    rule: decision.rule,
    "denied.identity": identity ?? "none",
  };
}
