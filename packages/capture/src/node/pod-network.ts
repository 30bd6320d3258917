import { type NetnsHandle, netnsInode } from "@hairpin/native";

/** The network of one sandbox of a pod. */
export interface PodNetwork {
  /** Tells networks apart. */
  readonly id: string;
  /** Valid until `close`. */
  readonly netnsPath: string;
  readonly ips: readonly string[];
  /** Idempotent. */
  close(): void;
}

/** A network known by an open namespace, which stays the same while its path or process may be gone. Takes over the handle. */
export function podNetworkOf(handle: NetnsHandle, ips: readonly string[]): PodNetwork {
  return {
    id: String(netnsInode(handle)),
    netnsPath: `/proc/self/fd/${handle.fd}`,
    ips,
    close: () => handle.close(),
  };
}
