import type { TlsEngineReport } from "@hairpin/shared/agent";
import type { MeshState } from "@hairpin/shared/discovery";
import type { CertificateDump } from "@hairpin/shared/identity";
import { describeConfig, type ZtunnelConfig } from "../config.ts";
import type { NodeConnections } from "../connection-table.ts";
import type { PodState } from "../pods.ts";

export interface ConfigDumpInput {
  readonly mesh: Pick<MeshState, "dumpState">;
  readonly certificates: readonly CertificateDump[];
  readonly config: ZtunnelConfig;
  readonly pods: ReadonlyMap<string, PodState>;
  readonly connections: NodeConnections;
  readonly version: string;
  readonly tlsEngine: TlsEngineReport;
}

/** `GET /config_dump` in ztunnel's shape (ztunnel.md §10.3), which `istioctl ztunnel-config` reads. No secrets in it. */
export function configDump(input: ConfigDumpInput): Readonly<Record<string, unknown>> {
  const { config, version } = input;
  const workloadState = [...input.pods].map(([uid, { state, info }]) => [
    uid,
    {
      state,
      connections: input.connections.get(uid) ?? { inbound: [], outbound: [] },
      info: { name: info.name, namespace: info.namespace, serviceAccount: info.serviceAccount },
    },
  ]);
  return {
    ...input.mesh.dumpState(),
    certificates: input.certificates,
    config: describeConfig(config),
    version: {
      version,
      gitRevision: "unknown",
      // ztunnel's key for the language; ours.
      rustVersion: `node ${process.versions.node}`,
      buildProfile: "release",
      buildStatus: "Clean",
      istioVersion: config.istioVersion,
      cryptoProvider: `openssl ${process.versions["openssl"]}`,
      tlsEngine: input.tlsEngine,
    },
    workloadState: Object.fromEntries(workloadState),
  };
}
