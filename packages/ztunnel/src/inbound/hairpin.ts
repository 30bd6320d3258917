import { connectHeader, formatHairpinSource, type HairpinSource, type Tunnel } from "@hairpin/hbone";
import { resolveWaypoint } from "@hairpin/shared/discovery";
import type { SocketAddress, Workload } from "@hairpin/shared/model";
import { freshTraceparent } from "../outbound/connect-hbone.ts";
import type { DataPath, PodContext } from "../pod-context.ts";
import { ZtunnelError } from "../response-flag.ts";
import type { HairpinPlan } from "./plan-connection.ts";

export interface HairpinLeg {
  readonly tunnel: Tunnel;
  /** The waypoint instance. */
  readonly address: SocketAddress;
}

/**
 * Opens the leg from a pod that was reached past its waypoint to that waypoint: dialled in the pod's netns, so that the
 * TCP source is the pod's address, with ztunnel's own certificate, and exactly one `x-hairpin-source` and `forwarded`
 * that say on whose behalf. Rejects with hbone's errors, or `OUTBOUND_REJECTED` when no instance is available.
 */
export async function dialHairpin(
  plan: HairpinPlan,
  call: { readonly local: Workload; readonly podAddress: SocketAddress; readonly source: HairpinSource },
  pod: PodContext,
  path: DataPath,
): Promise<HairpinLeg> {
  const { local, podAddress } = call;
  const waypoint = resolveWaypoint(path.mesh, plan.to, {
    source: local,
    random: Math.random,
    originalIp: podAddress.ip,
  });
  if (waypoint.kind === "unavailable") {
    const message = `waypoint ${plan.waypoint} cannot be used: ${waypoint.reason} (${waypoint.detail})`;
    throw new ZtunnelError(message, { code: "OUTBOUND_REJECTED", origin: "upstream" });
  }
  const address = { ip: waypoint.ip, port: waypoint.port };
  const target = {
    sourceIdentity: path.options.ownIdentity,
    expectedIdentities: plan.expectedIdentities.length > 0 ? plan.expectedIdentities : waypoint.identities,
    address,
    sourceIp: podAddress.ip,
    connectSocket: (timeoutMs: number) => pod.network.connect(address, { timeoutMs }),
  };
  const headers = [...formatHairpinSource(call.source), { name: connectHeader.traceparent, value: freshTraceparent() }];
  return { tunnel: await pod.dialer.dial(target, { authority: plan.authority, headers }), address };
}
