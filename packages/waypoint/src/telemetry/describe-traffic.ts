import type { MeshLookup } from "@hairpin/shared/discovery";
import { formatSpiffeId, type Service, type Workload } from "@hairpin/shared/model";
import type { Source } from "../terminate/read-source.ts";
import type { CommonLabels } from "./traffic-metrics.ts";

/** What is known of one request or connection when it is counted. */
export interface Traffic {
  readonly source: Source;
  /** Of the caller, see {@link findSourceWorkload}. */
  readonly client: Workload | undefined;
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

/** The caller's workload, by its address; not one that has another identity than the caller proved. */
export function findSourceWorkload({ identity, ip }: Source, { mesh, network }: DescribeOptions): Workload | undefined {
  const found = mesh.findWorkloadByIp(network, ip);
  const contradicts =
    found && identity && (found.namespace !== identity.namespace || found.serviceAccount !== identity.serviceAccount);
  return contradicts ? undefined : found;
}

/** Labels by the value rules of istio-ambient.md §11.3: what is not known is `unknown`. */
export function describeTraffic(traffic: Traffic, options: DescribeOptions): CommonLabels {
  const { source, client, destination, service } = traffic;
  return {
    reporter: "waypoint",
    source_workload: known(client?.workloadName),
    source_canonical_service: known(client?.canonicalName),
    source_canonical_revision: client?.canonicalRevision || "latest",
    source_workload_namespace: known(source.identity?.namespace ?? client?.namespace),
    source_principal: source.identity ? formatSpiffeId(source.identity) : "unknown",
    source_app: known(client?.canonicalName),
    source_version: known(client?.canonicalRevision),
    source_cluster: known(client?.clusterId),
    destination_workload: known(destination?.workloadName),
    destination_workload_namespace: known(destination?.namespace),
    destination_principal: destination?.tunnelProtocol === "HBONE" ? formatSpiffeId(destination) : "unknown",
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
