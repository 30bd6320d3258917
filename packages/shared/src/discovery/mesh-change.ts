/** What one applied update changed. Names are those of the resources. */
export interface MeshChange {
  /** Uids of workloads added, changed or removed. */
  readonly workloads: ReadonlySet<string>;
  /** Uids of workloads removed: their connections end. */
  readonly removedWorkloads: ReadonlySet<string>;
  /** `namespace/hostname` of services added, changed or removed, or whose endpoints did. */
  readonly services: ReadonlySet<string>;
  /** `namespace/name` of policies added, changed, removed, or found unreadable: decide open inbound connections again. */
  readonly policies: ReadonlySet<string>;
  /** Uids of workloads whose own list of policies, or enforcement, changed: decide their open inbound connections again. */
  readonly inboundRules: ReadonlySet<string>;
}

export type MeshChangeListener = (change: MeshChange) => void;
