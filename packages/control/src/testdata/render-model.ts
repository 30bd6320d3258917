// For golden tests: reads Kubernetes objects from YAML, builds the mesh model, and renders the asked parts as YAML that a
// person can check.

import { readFileSync } from "node:fs";
import { createRegistry, type DescMessage, type JsonValue, type MessageShape, toJson } from "@bufbuild/protobuf";
import { hairpinEnforcement, hairpinWaypoint, istioSecurity, istioWorkload } from "@hairpin/shared/api";
import { formatIp } from "@hairpin/shared/model";
import { parseAllDocuments, stringify } from "yaml";
import type { CoveredPod } from "../ambient/covered-pod.ts";
import type { MeshConfig } from "../ambient/mesh-config.ts";
import type { ObjectCollection } from "../collection/object-collection.ts";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import { type MeshModel, buildMeshModel } from "../mesh-model.ts";

export const testMesh: MeshConfig = {
  clusterId: "Kubernetes",
  clusterDomain: "cluster.local",
  trustDomain: "cluster.local",
  rootNamespace: "istio-system",
  network: "",
  trustedNodeAccounts: [{ namespace: "istio-system", serviceAccount: "ztunnel" }],
};

type Part = "workloads" | "services" | "authorizations" | "waypoints" | "conditions" | "routes" | "bindings";

/** First document of a golden input: what to render, and which Gateways' replicas have acknowledged. */
interface GoldenHeader {
  readonly show: readonly Part[];
  readonly acknowledged?: readonly string[];
}

/** A golden input: `testdata/<name>.in.yaml`. */
export interface Golden extends GoldenHeader {
  readonly objects: readonly KubernetesObject[];
}

export function readGolden(name: string): Golden {
  const text = readFileSync(new URL(`${name}.in.yaml`, import.meta.url), "utf8");
  const [header, ...objects] = parseAllDocuments(text).map((document) => document.toJS() as unknown);
  return { ...(header as GoldenHeader), objects: (objects as KubernetesObject[]).map(asServed) };
}

/** With what every server adds; objects without a date are all of one age, the youngest. */
function asServed(object: KubernetesObject): KubernetesObject {
  const added = { generation: 1, creationTimestamp: "2030-01-01T00:00:00Z" };
  return { ...object, metadata: { ...added, ...object.metadata } };
}

/** The model of what a source delivered. */
export function buildGolden({ acknowledged = [] }: Golden, objects: ObjectCollection): MeshModel {
  return buildMeshModel(objects.snapshot(), testMesh, {
    acknowledgements: { hasAcknowledged: (key) => acknowledged.includes(key) },
    now: new Date("2026-01-01T00:00:00Z"),
  });
}

/** What `<name>.out.yaml` holds. */
export function renderGolden({ show }: Golden, model: MeshModel): string {
  const parts = Object.fromEntries(show.map((part) => [part, renderers[part](model)]));
  return stringify(parts, { lineWidth: 0, aliasDuplicateObjects: false });
}

const renderers: Readonly<Record<Part, (model: MeshModel) => unknown>> = {
  workloads: ({ ambient }) =>
    byName(ambient.workloadMessages, (workload) => workload.uid, istioWorkload.WorkloadSchema),
  services: ({ ambient }) =>
    byName(ambient.serviceMessages, (service) => service.hostname, istioWorkload.ServiceSchema),
  authorizations: ({ ambient }) =>
    byName(ambient.authorizations, (policy) => `${policy.namespace}/${policy.name}`, istioSecurity.AuthorizationSchema),
  waypoints: ({ waypoints }) =>
    Object.fromEntries(
      [...waypoints].map(([key, resources]) => [
        key,
        {
          waypoint: render(hairpinWaypoint.WaypointSchema, resources.waypoint),
          services: [...resources.services.values()].map((service) => render(hairpinWaypoint.ServiceSchema, service)),
          workloads: [...resources.workloads.values()].map((one) => render(hairpinWaypoint.WorkloadSchema, one)),
        },
      ]),
    ),
  conditions: ({ statuses }) =>
    Object.fromEntries(
      statuses
        .filter(({ conditions }) => conditions.length > 0)
        .map(({ object, conditions }) => [
          `${object.kind} ${object.metadata.namespace ?? ""}/${object.metadata.name}`,
          conditions.map(({ type, status, reason, message }) => `${type}=${status} ${reason}: ${message}`),
        ]),
    ),
  routes: ({ statuses }) =>
    Object.fromEntries(
      statuses
        .filter(({ merge }) => merge !== undefined)
        .map(({ object, merge }) => [`${object.kind} ${object.metadata.name}`, merge?.["parents"]]),
    ),
  // The short form: who covers what, and what is enforced.
  bindings: ({ ambient }, pods = [...ambient.namespaces.values()].flatMap((namespace) => namespace.pods)) => ({
    pods: Object.fromEntries(
      pods.map(({ record, binding, enforcement }) => [
        `${record.namespace}/${record.name}`,
        [describeBinding(binding), describeEnforcement(enforcement)].join(" | "),
      ]),
    ),
    services: Object.fromEntries(
      [...ambient.serviceBindings].map(([key, binding]) => [key, describeBinding(binding)]),
    ),
  }),
};

function describeBinding(binding: CoveredPod["binding"]): string {
  const { resolution, scope, prospective } = binding;
  const later = prospective.length > 0 ? ` (later ${prospective.map((waypoint) => waypoint.key).join(", ")})` : "";
  if (resolution.kind === "bound") return `${scope} ${resolution.waypoint.key}${later}`;
  if (resolution.kind === "refused") return `${scope} refused ${resolution.reason}: ${resolution.message}${later}`;
  if (resolution.kind === "unsupported") return `${scope} unsupported: ${resolution.message}${later}`;
  return `none${later}`;
}

function describeEnforcement(plan: CoveredPod["enforcement"]): string {
  if (plan.kind === "hairpin") return `hairpin to ${plan.waypoint.key}, accepts ${plan.accepted.join(" ")}`;
  if (plan.kind === "refuse") return `refuse, accepts ${plan.accepted.join(" ") || "nobody"}`;
  return plan.because === undefined ? "not enforced" : `not enforced: ${plan.because}`;
}

const registry = createRegistry(hairpinEnforcement.EnforcementSchema, hairpinEnforcement.BindingSchema);

function byName<Schema extends DescMessage>(
  messages: readonly MessageShape<Schema>[],
  nameOf: (message: MessageShape<Schema>) => string,
  schema: Schema,
): Record<string, unknown> {
  return Object.fromEntries(messages.map((message) => [nameOf(message), render(schema, message)]));
}

function render<Schema extends DescMessage>(schema: Schema, message: MessageShape<Schema>): unknown {
  return readable(toJson(schema, message, { registry }));
}

/** Base64 addresses as IPs. */
function readable(value: JsonValue, field = ""): unknown {
  if (typeof value === "string" && (field === "address" || field === "addresses"))
    return formatIp(Buffer.from(value, "base64"));
  if (Array.isArray(value)) return value.map((item) => readable(item, field));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, readable(item, key)]));
}
