import { connectHeader, parseHairpinSource, type InboundConnect } from "@hairpin/hbone";
import { formatSpiffeId, type Identity, type IpAddress } from "@hairpin/shared/model";
import type { WaypointConfig } from "../waypoint-config.ts";
import type { Target } from "./resolve-target.ts";

/** On whose behalf a tunnel came: what policies and metrics call the source. */
export interface Source {
  readonly identity: Identity | undefined;
  readonly ip: IpAddress;
  readonly port: number;
  /** A ztunnel brought the connection because it had not passed this waypoint. */
  readonly hairpinned: boolean;
}

export type SourceResult =
  | { readonly kind: "source"; readonly source: Source; readonly ignoredHairpinHeader: boolean }
  | { readonly kind: "bad-request"; readonly reason: string };

/**
 * Finds the source of a tunnel. The peer's certificate names it, unless the peer is a trusted ztunnel that dials from the
 * address of the pod it asks for: then its `x-hairpin-source` does, and it must be there exactly once and well-formed.
 * From anybody else that header is ignored (architecture: a stolen node can speak only for its own pods).
 */
export function readSource(
  request: InboundConnect,
  remote: { ip: IpAddress; port: number },
  target: Target,
  config: WaypointConfig,
): SourceResult {
  const claims = request.headers.some(({ name }) => name === connectHeader.hairpinSource);
  const speaksForPod =
    config.trustsHairpinFrom(formatSpiffeId(request.peerIdentity)) &&
    target.kind === "workload" &&
    target.workload.addresses.includes(remote.ip);
  if (!speaksForPod) {
    const source = { identity: request.peerIdentity, ip: remote.ip, port: remote.port, hairpinned: false };
    return { kind: "source", source, ignoredHairpinHeader: claims };
  }
  try {
    const { identity, address } = parseHairpinSource(request.headers);
    return {
      kind: "source",
      source: { identity, ip: address.ip, port: address.port, hairpinned: true },
      ignoredHairpinHeader: false,
    };
  } catch (error) {
    return { kind: "bad-request", reason: error instanceof Error ? error.message : String(error) };
  }
}
