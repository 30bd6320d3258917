import { type MessageInitShape, create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { hairpinEnforcement, type istioWorkload } from "@hairpin/shared/api";
import { bindingExtension, enforcementExtension } from "@hairpin/shared/discovery";
import { type GatewayAddress, formatSpiffeId, ipBytes } from "@hairpin/shared/model";
import type { Binding, Resolution } from "./binding.ts";
import type { WaypointRecord } from "./waypoint-record.ts";

type ExtensionInit = MessageInitShape<typeof istioWorkload.ExtensionSchema>;
type GatewayAddressInit = MessageInitShape<typeof istioWorkload.GatewayAddressSchema>;

/** Why a covered workload's ztunnel is not told to enforce. */
export type Unenforced = "NotCaptured" | "Permissive" | "ForeignWaypoint";

export type EnforcementPlan =
  | { readonly kind: "none"; readonly because: Unenforced | undefined }
  | { readonly kind: "hairpin"; readonly waypoint: WaypointRecord; readonly accepted: readonly string[] }
  | {
      readonly kind: "refuse";
      readonly waypointKey: string;
      readonly reason: string;
      readonly accepted: readonly string[];
    };

/**
 * What the destination's ztunnel does with connections that did not pass a waypoint of this workload. Accepted are its own
 * waypoint, those that its services name, and those of its services' namespace unless the workload has one of its own.
 */
export function planEnforcement(workload: {
  readonly binding: Binding;
  readonly serviceBindings: readonly Binding[];
  readonly captured: boolean;
  readonly permissive: boolean;
}): EnforcementPlan {
  const { binding, serviceBindings } = workload;
  const { resolution } = binding;
  if (resolution.kind === "none" || resolution.kind === "unsupported") return { kind: "none", because: undefined };
  if (workload.permissive) return { kind: "none", because: "Permissive" };
  if (!workload.captured) return { kind: "none", because: "NotCaptured" };
  if (resolution.waypoint?.owned === false) return { kind: "none", because: "ForeignWaypoint" };
  const ofServices = serviceBindings
    .filter(({ scope }) => scope === "OBJECT" || (scope === "NAMESPACE" && binding.scope !== "OBJECT"))
    .flatMap((service) => usableWaypoint(service.resolution));
  const waypoints = [...usableWaypoint(resolution), ...ofServices];
  const identities = waypoints.flatMap((waypoint) => waypoint.identities.map(formatSpiffeId));
  const accepted = [...new Set(identities)].sort();
  return resolution.kind === "bound"
    ? { kind: "hairpin", waypoint: resolution.waypoint, accepted }
    : { kind: "refuse", waypointKey: resolution.waypointKey, reason: resolution.message, accepted };
}

/** Also one that is not ready just now: what it still forwards has passed it. */
function usableWaypoint(resolution: Resolution): WaypointRecord[] {
  if (resolution.kind === "bound") return [resolution.waypoint];
  const unready = resolution.kind === "refused" && resolution.reason === "WaypointIsNotReady";
  return unready && resolution.waypoint !== undefined ? [resolution.waypoint] : [];
}

export function enforcementMessage(plan: EnforcementPlan): hairpinEnforcement.Enforcement | undefined {
  const { Enforcement_Mode, EnforcementSchema } = hairpinEnforcement;
  switch (plan.kind) {
    case "none":
      return undefined;
    case "hairpin":
      return create(EnforcementSchema, {
        mode: Enforcement_Mode.HAIRPIN,
        acceptedIdentities: [...plan.accepted],
        hairpinTo: gatewayAddressInit(plan.waypoint.address),
        hairpinIdentities: plan.waypoint.identities.map(formatSpiffeId),
        waypoint: plan.waypoint.key,
      });
    case "refuse":
      return create(EnforcementSchema, {
        mode: Enforcement_Mode.REFUSE,
        acceptedIdentities: [...plan.accepted],
        waypoint: plan.waypointKey,
        reason: plan.reason,
      });
  }
  return plan satisfies never;
}

/** Undefined when nothing is bound. A permissive namespace is not told of refusals: the mesh fails open there, as upstream. */
export function bindingMessage(binding: Binding, permissive: boolean): hairpinEnforcement.Binding | undefined {
  const { resolution } = binding;
  const refused = resolution.kind === "refused" && !permissive;
  if (resolution.kind !== "bound" && !refused) return undefined;
  return create(hairpinEnforcement.BindingSchema, {
    scope: hairpinEnforcement.Binding_Scope[binding.scope],
    waypoint: resolution.kind === "bound" ? resolution.waypoint.key : resolution.waypointKey,
    refuseReason: resolution.kind === "refused" ? resolution.message : "",
  });
}

export function extensionsOf(
  enforcement: hairpinEnforcement.Enforcement | undefined,
  binding: hairpinEnforcement.Binding | undefined,
): ExtensionInit[] {
  const extensions: ExtensionInit[] = [];
  if (enforcement !== undefined)
    extensions.push({
      name: enforcementExtension,
      config: anyPack(hairpinEnforcement.EnforcementSchema, enforcement),
    });
  if (binding !== undefined)
    extensions.push({ name: bindingExtension, config: anyPack(hairpinEnforcement.BindingSchema, binding) });
  return extensions;
}

export function gatewayAddressInit(address: GatewayAddress): GatewayAddressInit {
  const { destination, hboneMtlsPort } = address;
  return destination.kind === "hostname"
    ? { destination: { case: "hostname", value: destination.hostname }, hboneMtlsPort }
    : {
        destination: {
          case: "address",
          value: { network: destination.address.network, address: ipBytes(destination.address.ip) },
        },
        hboneMtlsPort,
      };
}
