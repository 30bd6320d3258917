import type { TlsEngineReport } from "@hairpin/shared/agent";
import type { MeshState } from "@hairpin/shared/discovery";
import type { CertificateStore } from "@hairpin/shared/identity";
import { describeConfig, type WaypointSettings } from "./config.ts";
import type { HttpUpstreams } from "./forward/http-upstreams.ts";
import type { HboneListener } from "./hbone-listener.ts";
import type { WaypointConfig } from "./waypoint-config.ts";

export interface DumpInput {
  readonly mesh: MeshState;
  readonly config: WaypointConfig;
  readonly certificates: CertificateStore;
  readonly settings: WaypointSettings;
  readonly upstreams: HttpUpstreams;
  readonly listener: HboneListener;
  readonly version: string;
  readonly tlsEngine: TlsEngineReport;
}

/** `/config_dump`: ztunnel's shape for what both have, and what this waypoint manages. */
export function configDump(input: DumpInput): unknown {
  const { mesh, config } = input;
  return {
    ...mesh.dumpState(),
    certificates: input.certificates.list(),
    config: describeConfig(input.settings),
    version: { version: input.version, tlsEngine: input.tlsEngine },
    waypoint: {
      gateway: config.gateway?.name ?? null,
      policies: (config.gateway?.policies ?? []).map(({ key, action, dryRun }) => ({ key, action, dryRun })),
      services: [...config.services()].map(({ namespace, hostname, ports, policies, onlyWorkloads }) => ({
        namespace,
        hostname,
        ports: [...ports.values()].map(({ port, protocol, routeNames }) => ({ port, protocol, routes: routeNames })),
        policies: policies.map(({ key, action }) => ({ key, action })),
        onlyWorkloads: onlyWorkloads ? [...onlyWorkloads] : null,
      })),
      workloads: [...config.workloads()].map(({ uid }) => uid),
      sessions: input.listener.sessions,
      upstreamConnections: input.upstreams.size,
    },
  };
}
