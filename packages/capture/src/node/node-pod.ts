/** A pod of this node, trimmed to what capture needs. */
export interface NodePod {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly hostNetwork: boolean;
  /** Empty until the runtime has given it an address. */
  readonly ips: readonly string[];
  /** Succeeded or failed: nothing of it runs any more. */
  readonly isFinished: boolean;
  /** It is being deleted; its network may be gone already. */
  readonly isEnding: boolean;
}

/** As the API server gives it. */
export interface PodObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec?: { readonly serviceAccountName?: string; readonly hostNetwork?: boolean };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
  };
}

export function nodePodOf({ metadata, spec = {}, status = {} }: PodObject): NodePod {
  const ips = status.podIPs?.flatMap(({ ip }) => ip ?? []) ?? [];
  return {
    uid: metadata.uid ?? "",
    namespace: metadata.namespace ?? "default",
    name: metadata.name,
    serviceAccount: spec.serviceAccountName ?? "default",
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    hostNetwork: spec.hostNetwork === true,
    ips: ips.length === 0 && status.podIP !== undefined ? [status.podIP] : ips,
    isFinished: status.phase === "Succeeded" || status.phase === "Failed",
    isEnding: metadata.deletionTimestamp !== undefined,
  };
}
