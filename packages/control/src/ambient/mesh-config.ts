import type { Identity } from "@hairpin/shared/model";

/** What is the same for the whole mesh, from control's configuration. */
export interface MeshConfig {
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly trustDomain: string;
  /** Policies here count for the whole mesh: istio-system. */
  readonly rootNamespace: string;
  /** "" is the default network. */
  readonly network: string;
  /** Service accounts of node agents: may ask the CA for others, and are believed by waypoints. */
  readonly trustedNodeAccounts: readonly NamespacedAccount[];
}

export interface NamespacedAccount {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** The trust domain that goes over the wire as "". */
export const defaultTrustDomain = "cluster.local";
export const hbonePort = 15008;

export function identityOf(config: MeshConfig, account: NamespacedAccount): Identity {
  return { trustDomain: config.trustDomain, ...account };
}
