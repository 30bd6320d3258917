// What differs between a local mesh and a cluster: where objects come from and conditions go, where the CA is kept, how tokens are
// verified, and whether there are other replicas.

import type { Clock, Component } from "@hairpin/shared/process";
import type { Logger, MetricRegistry } from "@hairpin/shared/telemetry";
import type { TokenVerifier } from "./authority/caller.ts";
import { createLocalTokenVerifier } from "./authority/local-token-verifier.ts";
import { openRootAuthority } from "./authority/root-authority.ts";
import type { AuthoritySource } from "./authority/signing-authority.ts";
import type { ObjectCollection } from "./collection/object-collection.ts";
import type { ControlConfig, LocalAuthorityConfig, SourceConfig } from "./config.ts";
import { createKubernetesPlatform } from "./kubernetes-platform.ts";
import { createManifestSource } from "./manifest-source.ts";
import type { ObjectSource } from "./source/object-source.ts";
import { StoreSource } from "./source/store-source.ts";
import { type Leadership, soleLeader } from "./status/leadership.ts";
import type { StatusSink } from "./status/status-writer.ts";
import { createStoreStatusSink } from "./status/store-status-sink.ts";

export interface Platform {
  readonly authorities: AuthoritySource;
  /** Where `root-cert.pem` is; undefined where it is no file. */
  readonly rootPath: string | undefined;
  readonly tokens: TokenVerifier;
  readonly source: ObjectSource;
  readonly statusSink: StatusSink;
  readonly leadership: Leadership;
  /** Started before the source, stopped after everything that uses them. */
  readonly foundation: readonly Component[];
  /** Started last: what acts on the cluster. */
  readonly controllers: readonly Component[];
}

export interface PlatformComponents {
  readonly objects: ObjectCollection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricRegistry;
}

/** Resolves once the CA is open. Holds nothing until its components are started. */
export async function createPlatform(config: ControlConfig, components: PlatformComponents): Promise<Platform> {
  const { source, localAuthority } = config;
  if (source.kind === "kubernetes") return await createKubernetesPlatform(config, source.server, components);
  if (localAuthority === undefined) throw new Error("A local mesh needs a CA folder and a token key");
  return await createLocalPlatform(source, localAuthority, components);
}

async function createLocalPlatform(
  source: Exclude<SourceConfig, { kind: "kubernetes" }>,
  { caDir, tokenKeyPem }: LocalAuthorityConfig,
  components: PlatformComponents,
): Promise<Platform> {
  const { clock, logger } = components;
  const root = await openRootAuthority(caDir, clock);
  if (root.created) logger.info("root certificate created", { path: root.rootPath });
  const isStore = source.kind === "store";
  return {
    authorities: root,
    rootPath: root.rootPath,
    tokens: await createLocalTokenVerifier(tokenKeyPem, clock),
    source: isStore
      ? new StoreSource(components, { socketPath: source.socketPath })
      : createManifestSource(components, source.folder),
    statusSink: isStore ? createStoreStatusSink(source.socketPath) : createLogSink(logger),
    leadership: soleLeader,
    foundation: [],
    controllers: [],
  };
}

/** Files have no status. */
function createLogSink(logger: Logger): StatusSink {
  return {
    write: async ({ kind, namespace = "", name, conditions }) => {
      for (const { type, status, reason, message } of conditions)
        logger.debug("condition", { object: `${kind} ${namespace}/${name}`, type, status, reason, message });
      await Promise.resolve();
    },
  };
}
