import type { Decision } from "@hairpin/shared/authz";
import type { GatewayAddress, Identity, IpAddress, Workload } from "@hairpin/shared/model";
import { equalIdentity, formatSocketAddress, tryParseSocketAddress } from "@hairpin/shared/model";
import type { ResponseFlag } from "@hairpin/shared/telemetry";
import type { InboundTarget } from "./resolve-target.ts";

/** Dial the application in its netns and relay. */
export interface DeliverPlan {
  readonly kind: "deliver";
}

/** Send the connection to the workload's waypoint, on behalf of the caller. */
export interface HairpinPlan {
  readonly kind: "hairpin";
  readonly to: GatewayAddress;
  /** Who may answer there. */
  readonly expectedIdentities: readonly Identity[];
  /** `namespace/name` of the Gateway, for logs. */
  readonly waypoint: string;
  /** `:authority` of the hairpin leg: the pod's own address. */
  readonly authority: string;
}

export interface RefusePlan {
  readonly kind: "refuse";
  /** Of the CONNECT; a plaintext connection is closed instead. */
  readonly status: 400 | 401 | 503;
  /** As the access log says it. */
  readonly reason: string;
  readonly flag: ResponseFlag;
  /** Set when an L4 policy refused. */
  readonly decision?: Decision;
}

export type InboundPlan = DeliverPlan | HairpinPlan | RefusePlan;

export interface InboundCall {
  readonly local: Workload;
  /** What the direct caller proved; undefined for plaintext. */
  readonly peerIdentity: Identity | undefined;
  readonly target: InboundTarget;
  /** Every `x-hairpin-for` of the CONNECT. */
  readonly hairpinFor: readonly string[];
}

/**
 * What happens to an inbound connection, after its L4 policy was decided against the direct caller: refused by policy;
 * delivered; or, when the workload has an enforced waypoint and the caller is none that it accepts, sent through that
 * waypoint. A call that comes back from the waypoint without having proved to be it would turn for ever: refused.
 */
export function planInbound(call: InboundCall, decision: Decision): InboundPlan {
  if (!decision.allowed) {
    const reason = `connection closed due to policy rejection: ${decision.reason}`;
    return { kind: "refuse", status: 401, reason, flag: "DENY", decision };
  }
  const { enforcement } = call.local;
  if (!enforcement || isAccepted(call.local, call.peerIdentity)) return { kind: "deliver" };
  const { waypoint } = enforcement;
  if (enforcement.mode === "refuse") {
    const reason = `waypoint ${waypoint} cannot be used: ${enforcement.reason}`;
    return { kind: "refuse", status: 503, reason, flag: "DENY" };
  }
  const { address } = call.target;
  if (call.hairpinFor.some((value) => isFor(value, address.ip, call.local))) {
    const reason = `hairpin_loop: a connection already sent to waypoint ${waypoint} came back from elsewhere`;
    return { kind: "refuse", status: 503, reason, flag: "DENY" };
  }
  return {
    kind: "hairpin",
    to: enforcement.hairpinTo,
    expectedIdentities: enforcement.hairpinIdentities,
    waypoint,
    authority: formatSocketAddress(address),
  };
}

/**
 * Whether an open connection that was delivered may stay: its policy still allows it, and its caller still counts as
 * having passed the waypoint (enforcement may have begun). Undefined: it may.
 */
export function reasonToClose(
  connection: { readonly peerIdentity: Identity | undefined; readonly hairpinned: boolean },
  local: Workload,
  decision: Decision,
): string | undefined {
  if (!decision.allowed) return decision.reason;
  const { enforcement } = local;
  if (!enforcement || isAccepted(local, connection.peerIdentity)) return undefined;
  if (enforcement.mode === "refuse") return `waypoint ${enforcement.waypoint} cannot be used: ${enforcement.reason}`;
  return connection.hairpinned ? undefined : `waypoint ${enforcement.waypoint} is now enforced`;
}

function isAccepted(local: Workload, peerIdentity: Identity | undefined): boolean {
  if (!peerIdentity) return false;
  return local.enforcement?.acceptedIdentities.some((accepted) => equalIdentity(accepted, peerIdentity)) ?? false;
}

/** Whether an `x-hairpin-for` names this pod. One that does not parse counts as ours: better a 503 than a loop. */
function isFor(value: string, localIp: IpAddress, local: Workload): boolean {
  const address = tryParseSocketAddress(value);
  return !address || address.ip === localIp || local.addresses.includes(address.ip);
}
