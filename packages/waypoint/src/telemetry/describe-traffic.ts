import type { MeshLookup } from "@hairpin/shared/discovery";
import { formatSpiffeId, type Service, type Workload } from "@hairpin/shared/model";
import type { Source } from "../terminate/read-source.ts";
import type { CommonLabels } from "./request-metrics.ts";

/** What is known of one request or connection when it is counted. */
export interface Traffic {
  readonly source: Source;
  readonly destination: Workload | undefined;
  readonly service: Service | undefined;
  readonly protocol: "http" | "grpc" | "tcp";
  readonly flag: string;
}

export interface DescribeOptions {
  readonly mesh: MeshLookup;
  readonly network: string;
  /** The waypoint's own namespace and cluster (istio-ambient.md §11.3). */
  readonly namespace: string;
  readonly clusterId: string;
}

/** Labels by the value rules of istio-ambient.md §11.3: what is not known is `unknown`. */
export function describeTraffic(traffic: Traffic, options: DescribeOptions): CommonLabels {
  const { source, destination, service } = traffic;
  const client = options.mesh.findWorkloadByIp(options.network, source.ip);
  return {
    reporter: "waypoint",
    source_workload: known(client?.workloadName),
    source_canonical_service: known(client?.canonicalName),
    source_canonical_revision: client?.canonicalRevision || "latest",
    source_workload_namespace: known(source.identity?.namespace ?? client?.namespace),
    source_principal: source.identity ? formatSpiffeId(source.identity) : "unknown",
    source_app: known(client?.canonicalName),
    source_version: client?.canonicalRevision || "latest",
    source_cluster: known(client?.clusterId),
    destination_workload: known(destination?.workloadName),
    destination_workload_namespace: known(destination?.namespace),
    destination_principal: destination ? formatSpiffeId(destination) : "unknown",
    destination_app: known(destination?.canonicalName),
    destination_version: known(destination?.canonicalRevision),
    destination_service: known(service?.hostname),
    destination_canonical_service: known(destination?.canonicalName),
    destination_canonical_revision: known(destination?.canonicalRevision),
    destination_service_name: known(service?.name),
    destination_service_namespace: options.namespace,
    destination_cluster: options.clusterId,
    request_protocol: traffic.protocol,
    response_flags: traffic.flag,
    connection_security_policy: source.identity ? "mutual_tls" : "none",
  };
}

function known(value: string | undefined): string {
  return value || "unknown";
}
