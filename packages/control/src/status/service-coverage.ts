import { type AmbientModel, podsOfService } from "../ambient/ambient-model.ts";
import { boundWaypoint } from "../ambient/waypoint/binding.ts";

/** A waypoint of ours stands before the service now: it is bound, or one of its pods is. */
export function isManaged(serviceKey: string, model: AmbientModel): boolean {
  if (boundWaypoint(model.serviceBindings.get(serviceKey))?.owned === true) return true;
  const service = model.services.get(serviceKey);
  const pods = service === undefined ? [] : podsOfService(model, service);
  return pods.some(({ binding }) => boundWaypoint(binding)?.owned === true);
}

/** Why no waypoint stands before a service, and what to do. */
export function describeUnmanaged(serviceKey: string, model: AmbientModel): string {
  const binding = model.serviceBindings.get(serviceKey);
  const resolution = binding?.resolution;
  if (resolution?.kind === "refused" || resolution?.kind === "unsupported") return resolution.message;
  if (resolution?.kind === "bound") return `waypoint ${resolution.waypoint.key} is not one that Hairpin runs`;
  const [later] = binding?.prospective ?? [];
  if (later !== undefined) return `waypoint ${later.key} is not ready yet`;
  return "create a waypoint in its namespace or label the Service istio.io/use-waypoint";
}
