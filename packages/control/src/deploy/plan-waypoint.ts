// A Gateway and its overlays → every object to apply. Pure.

import type { AppliedObject } from "./applied-object.ts";
import { type Overlay } from "./overlay.ts";
import { mergeStrategically } from "./strategic-merge.ts";
import {
  buildMetadata,
  buildWaypoint,
  podSelector,
  type WaypointGateway,
  type WaypointRuntime,
} from "./waypoint-objects.ts";
import { waypointName } from "../ambient/waypoint/waypoint-record.ts";

/**
 * The objects of a waypoint in the order in which they are applied: what a replica needs is there before it. An autoscaler and a
 * disruption budget only when an overlay names them. Overlays are laid over in order; the object's name, owner, our labels
 * and the selector stay ours. Throws `Error` that names the overlay when one does not fit.
 */
export function planWaypoint(
  gateway: WaypointGateway,
  runtime: WaypointRuntime,
  overlays: readonly Overlay[],
): readonly AppliedObject[] {
  const { serviceAccount, service, deployment } = buildWaypoint(gateway, runtime);
  const optional = [buildAutoscaler(gateway), buildDisruptionBudget(gateway)];
  const asked = optional.filter((object) => overlays.some(({ patches }) => hasKind(patches, object.kind)));
  return [serviceAccount, service, deployment, ...asked].map((object) => withOverlays(object, overlays));
}

function hasKind(patches: Overlay["patches"], kind: string): boolean {
  return [...patches.keys()].some((patched) => patched === kind);
}

function withOverlays(object: AppliedObject, overlays: readonly Overlay[]): AppliedObject {
  let merged = object;
  for (const { origin, patches } of overlays) {
    for (const [kind, patch] of patches) {
      if (kind !== object.kind) continue;
      try {
        merged = mergeStrategically(merged, patch);
      } catch (error) {
        throw new Error(`${origin}: ${kind}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      }
    }
  }
  return merged === object ? object : keepOurs(object, merged);
}

/** By these we find our objects again, and pods their Service. */
const identifyingLabels = /^gateway\.(networking\.k8s\.io|istio\.io)\//;

function keepOurs(ours: AppliedObject, merged: AppliedObject): AppliedObject {
  const labels = Object.fromEntries(
    Object.entries(ours.metadata.labels).filter(([key]) => identifyingLabels.test(key)),
  );
  const { name, namespace, ownerReferences } = ours.metadata;
  const metadata = {
    ...merged.metadata,
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(ownerReferences === undefined ? {} : { ownerReferences }),
    labels: { ...merged.metadata.labels, ...labels },
  };
  const { selector } = ours.spec ?? {};
  const spec = selector === undefined ? merged.spec : { ...merged.spec, selector };
  const whole = { ...merged, apiVersion: ours.apiVersion, kind: ours.kind, metadata };
  if (spec === undefined) return whole;
  return { ...whole, spec: ours.kind === "Deployment" ? withPodLabels(spec, labels) : spec };
}

function withPodLabels(
  spec: Readonly<Record<string, unknown>>,
  labels: Readonly<Record<string, string>>,
): Readonly<Record<string, unknown>> {
  const template = mapAt(spec, "template");
  const metadata = mapAt(template, "metadata");
  return {
    ...spec,
    template: { ...template, metadata: { ...metadata, labels: { ...mapAt(metadata, "labels"), ...labels } } },
  };
}

function mapAt(map: Readonly<Record<string, unknown>>, field: string): Readonly<Record<string, unknown>> {
  const value = map[field];
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

/** Scales nothing by itself, as Istio's: an overlay gives the numbers. */
function buildAutoscaler(gateway: WaypointGateway): AppliedObject {
  const name = waypointName(gateway);
  return {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: buildMetadata(gateway, name),
    spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name }, maxReplicas: 1 },
  };
}

function buildDisruptionBudget(gateway: WaypointGateway): AppliedObject {
  return {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: buildMetadata(gateway, waypointName(gateway)),
    spec: { selector: { matchLabels: podSelector(gateway) } },
  };
}
