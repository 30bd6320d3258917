// The published schemas of the kinds we take, as validators (types, enums, ranges, required fields).
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { EndpointSlice } from "kubernetes-models/discovery.k8s.io/v1/EndpointSlice";
import { ConfigMap } from "kubernetes-models/v1/ConfigMap";
import { Namespace } from "kubernetes-models/v1/Namespace";
import { Node } from "kubernetes-models/v1/Node";
import { Pod } from "kubernetes-models/v1/Pod";
import { Service } from "kubernetes-models/v1/Service";
import { ServiceAccount } from "kubernetes-models/v1/ServiceAccount";
import { Gateway } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/Gateway";
import { GatewayClass } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/GatewayClass";
import { GRPCRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/GRPCRoute";
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";
import { ReferenceGrant } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/ReferenceGrant";
import { TCPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1alpha2/TCPRoute";
import { ServiceEntry } from "@kubernetes-models/istio/networking.istio.io/v1/ServiceEntry";
import { WorkloadEntry } from "@kubernetes-models/istio/networking.istio.io/v1/WorkloadEntry";
import { AuthorizationPolicy } from "@kubernetes-models/istio/security.istio.io/v1/AuthorizationPolicy";
import { PeerAuthentication } from "@kubernetes-models/istio/security.istio.io/v1/PeerAuthentication";
import type { FieldPath } from "./problem.ts";

type ModelClass = new (data: never) => { validate(): void };

const models: ReadonlyMap<string, ModelClass> = new Map<string, ModelClass>([
  ["Namespace", Namespace],
  ["Node", Node],
  ["ServiceAccount", ServiceAccount],
  ["ConfigMap", ConfigMap],
  ["Pod", Pod],
  ["Service", Service],
  ["Deployment", Deployment],
  ["EndpointSlice", EndpointSlice],
  ["GatewayClass", GatewayClass],
  ["Gateway", Gateway],
  ["HTTPRoute", HTTPRoute],
  ["GRPCRoute", GRPCRoute],
  ["TCPRoute", TCPRoute],
  ["ReferenceGrant", ReferenceGrant],
  ["AuthorizationPolicy", AuthorizationPolicy],
  ["PeerAuthentication", PeerAuthentication],
  ["ServiceEntry", ServiceEntry],
  ["WorkloadEntry", WorkloadEntry],
]);

/** What a schema finds wrong: where, and in words. */
export interface SchemaFault {
  readonly path: FieldPath;
  readonly reason: string;
}

interface AjvFault {
  readonly instancePath: string;
  readonly keyword: string;
  readonly message?: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** Holds the object against the published schema of its kind. Kinds without a schema pass. */
export function findSchemaFaults(kind: string, object: Readonly<Record<string, unknown>>): SchemaFault[] {
  const Model = models.get(kind);
  if (!Model) return [];
  const { apiVersion: _version, status: _status, ...rest } = object;
  try {
    new Model(rest as never).validate();
    return [];
  } catch (error) {
    const faults = ajvFaults(error);
    if (!faults) throw error;
    return narrow(faults).map((fault) => ({
      path: pointerPath(fault.instancePath, object),
      reason: describe(fault, object),
    }));
  }
}

function ajvFaults(error: unknown): readonly AjvFault[] | undefined {
  const faults = error instanceof Error && "errors" in error ? error.errors : undefined;
  return Array.isArray(faults) ? (faults as readonly AjvFault[]) : undefined;
}

/** A failed `oneOf` reports all its branches and itself; the branches say nothing a user can act on beside the others. */
function narrow(faults: readonly AjvFault[]): readonly AjvFault[] {
  const plain = faults.filter(({ keyword }) => !["anyOf", "oneOf", "not", "if"].includes(keyword));
  const kept = plain.length > 0 ? plain : faults;
  const seen = new Set<string>();
  return kept.filter(({ instancePath, keyword }) => {
    const key = `${instancePath} ${keyword}`;
    return !seen.has(key) && Boolean(seen.add(key));
  });
}

function describe(fault: AjvFault, object: unknown): string {
  const value = JSON.stringify(valueAt(object, pointerPath(fault.instancePath, object)));
  const allowed = fault.params["allowedValues"];
  if (fault.keyword === "enum" && Array.isArray(allowed))
    return `${value} is none of ${allowed.filter((item) => item !== null && item !== "").join(", ")}`;
  if (fault.keyword === "required") return `the field ${String(fault.params["missingProperty"])} is missing`;
  if (fault.keyword === "anyOf" || fault.keyword === "oneOf" || fault.keyword === "not") {
    return `the fields set here do not go together (${fault.message ?? fault.keyword})`;
  }
  return `${value} ${fault.message ?? `breaks the rule ${fault.keyword}`}`;
}

/** A JSON pointer (RFC 6901) as a path; list positions become numbers. */
function pointerPath(pointer: string, root: unknown): FieldPath {
  const path: (string | number)[] = [];
  let value = root;
  for (const raw of pointer.split("/").slice(1)) {
    const name = raw.replaceAll("~1", "/").replaceAll("~0", "~");
    const key = Array.isArray(value) ? Number(name) : name;
    path.push(key);
    value = childOf(value, key);
  }
  return path;
}

export function valueAt(root: unknown, path: FieldPath): unknown {
  return path.reduce<unknown>(childOf, root);
}

function childOf(value: unknown, key: string | number): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return (value as Readonly<Record<string | number, unknown>>)[key];
}
