import { isIP } from "node:net";
import { findKind, commonFields, knownKinds, type KindDefinition } from "./kinds.ts";
import type { FieldPath } from "./problem.ts";
import { findSchemaFaults, valueAt } from "./schema.ts";
import { closest, findUnknownFields } from "./shape.ts";

/** A Kubernetes object as plain JSON. */
export type PlainObject = Readonly<Record<string, unknown>>;

/** One thing that is wrong with an object. */
export interface Fault {
  readonly path: FieldPath;
  readonly reason: string;
}

/**
 * Everything wrong with an object on its own, in the order of its text: unknown kind or version, bad name, unknown fields,
 * wrong types and values. Empty: the object is good. What it refers to is not looked at (see check-references.ts).
 */
export function validateObject(object: unknown): Fault[] {
  if (typeof object !== "object" || object === null || Array.isArray(object))
    return [{ path: [], reason: "a manifest is a mapping with apiVersion, kind and metadata" }];
  const plain = object as PlainObject;
  const { kind, apiVersion } = plain;
  if (typeof kind !== "string" || kind === "") return [{ path: ["kind"], reason: "the field kind is missing" }];
  const definition = findKind(kind);
  if (!definition) return [{ path: ["kind"], reason: unknownKind(kind) }];
  if (typeof apiVersion !== "string" || !definition.apiVersions.includes(apiVersion)) {
    return [
      {
        path: ["apiVersion"],
        reason: `${JSON.stringify(apiVersion)} is not a version of ${kind}; use ${definition.apiVersions[0]}`,
      },
    ];
  }
  return onePerPath([
    ...checkMetadata(plain, definition),
    ...findUnknownFields(plain, { ...commonFields, ...definition.spec }).map(({ path, name, suggestion }) => ({
      path,
      reason: `unknown field ${JSON.stringify(name)}${suggestion === undefined ? "" : `; did you mean ${suggestion}?`}`,
    })),
    ...checkValues(kind, plain),
    ...findSchemaFaults(kind, plain),
  ]);
}

/** Two checks may find the same field wrong; the first says it best. */
function onePerPath(faults: readonly Fault[]): Fault[] {
  const seen = new Set<string>();
  return faults.filter(({ path }) => {
    const key = JSON.stringify(path);
    return !seen.has(key) && Boolean(seen.add(key));
  });
}

function unknownKind(kind: string): string {
  const near = closest(kind, knownKinds());
  const hint = near === undefined ? `Known: ${knownKinds().join(", ")}` : `Did you mean ${near}?`;
  return `unknown kind ${JSON.stringify(kind)}. ${hint}`;
}

const dnsLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const dnsSubdomain = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const labelValue = /^$|^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

/** RFC 1123 names; Namespaces and Services are DNS labels (Kubernetes "Object Names and IDs"). */
function checkMetadata(object: PlainObject, definition: KindDefinition): Fault[] {
  const metadata = object["metadata"];
  if (typeof metadata !== "object" || metadata === null)
    return [{ path: ["metadata"], reason: "metadata with a name is missing" }];
  const { name, namespace, labels, annotations } = metadata as PlainObject;
  const faults: Fault[] = [];
  const pattern = ["Namespace", "Service"].includes(definition.kind) ? dnsLabel : dnsSubdomain;
  if (typeof name !== "string" || name === "")
    faults.push({ path: ["metadata", "name"], reason: "the name is missing" });
  else if (!pattern.test(name))
    faults.push({
      path: ["metadata", "name"],
      reason: `${JSON.stringify(name)} is not a name: lower-case letters, digits and "-"`,
    });
  if (namespace !== undefined && (typeof namespace !== "string" || !dnsLabel.test(namespace))) {
    faults.push({
      path: ["metadata", "namespace"],
      reason: `${JSON.stringify(namespace)} is not the name of a namespace`,
    });
  }
  if (namespace !== undefined && !definition.namespaced)
    faults.push({ path: ["metadata", "namespace"], reason: `a ${definition.kind} has no namespace` });
  faults.push(
    ...checkStringMap(labels, ["metadata", "labels"], labelValue),
    ...checkStringMap(annotations, ["metadata", "annotations"]),
  );
  return faults;
}

function checkStringMap(value: unknown, path: FieldPath, pattern?: RegExp): Fault[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => {
    if (typeof item !== "string")
      return [{ path: [...path, key], reason: `${JSON.stringify(item)} is not a string; put it in quotes` }];
    if (pattern && !pattern.test(item))
      return [{ path: [...path, key], reason: `${JSON.stringify(item)} is not a label value` }];
    return [];
  });
}

/** Ranges and relations that the published schemas leave to the API server's own code. */
function checkValues(kind: string, object: PlainObject): Fault[] {
  switch (kind) {
    case "Service":
      return checkService(object);
    case "Pod":
      return checkPodSpec(object, ["spec"]);
    case "Deployment":
      return [...checkSelector(object), ...checkPodSpec(object, ["spec", "template", "spec"])];
    case "EndpointSlice":
      return checkPorts(object, ["ports"], "port");
    case "AuthorizationPolicy":
      return checkPolicy(object);
    case "PeerAuthentication":
      return checkPeerAuthentication(object);
    case "ServiceEntry":
      return checkServiceEntry(object);
    default:
      return [];
  }
}

function checkService(object: PlainObject): Fault[] {
  const ports = listAt(object, ["spec", "ports"]);
  const faults = checkPorts(object, ["spec", "ports"], "port");
  const names = new Set<unknown>();
  for (const [index, item] of ports.entries()) {
    const { name, targetPort } = item as PlainObject;
    const path = ["spec", "ports", index];
    if (ports.length > 1 && (name === undefined || name === ""))
      faults.push({ path: [...path, "name"], reason: "every port needs a name when there are several" });
    if (name !== undefined && names.has(name))
      faults.push({ path: [...path, "name"], reason: `the port name ${JSON.stringify(name)} is used twice` });
    names.add(name);
    if (typeof targetPort === "number" && !isPort(targetPort))
      faults.push({ path: [...path, "targetPort"], reason: notAPort(targetPort) });
  }
  const clusterIp = valueAt(object, ["spec", "clusterIP"]);
  if (typeof clusterIp === "string" && clusterIp !== "" && clusterIp !== "None" && isIP(clusterIp) === 0) {
    faults.push({
      path: ["spec", "clusterIP"],
      reason: `${JSON.stringify(clusterIp)} is neither an IP address nor None`,
    });
  }
  return faults;
}

function checkPodSpec(object: PlainObject, at: FieldPath): Fault[] {
  return ["containers", "initContainers"].flatMap((list) =>
    listAt(object, [...at, list]).flatMap((_, index) =>
      checkPorts(object, [...at, list, index, "ports"], "containerPort"),
    ),
  );
}

/** A Deployment that does not select its own pods would make pods for ever. */
function checkSelector(object: PlainObject): Fault[] {
  const selector = valueAt(object, ["spec", "selector", "matchLabels"]);
  const labels = valueAt(object, ["spec", "template", "metadata", "labels"]);
  if (typeof selector !== "object" || selector === null) return [];
  return Object.entries(selector).flatMap(([key, value]) =>
    valueAt(labels, [key]) === value
      ? []
      : [
          {
            path: ["spec", "selector", "matchLabels", key],
            reason: `the template's labels do not have ${key}: ${String(value)}`,
          },
        ],
  );
}

function checkPolicy(object: PlainObject): Fault[] {
  const faults: Fault[] = [];
  const spec = valueAt(object, ["spec"]);
  const has = (name: string): boolean => valueAt(spec, [name]) !== undefined;
  if (has("selector") && (has("targetRefs") || has("targetRef")))
    faults.push({ path: ["spec", "selector"], reason: "a policy has either a selector or targetRefs" });
  for (const [rule] of listAt(object, ["spec", "rules"]).entries()) {
    for (const [to] of listAt(object, ["spec", "rules", rule, "to"]).entries()) {
      for (const field of ["ports", "notPorts"]) {
        const path = ["spec", "rules", rule, "to", to, "operation", field];
        for (const [index, port] of listAt(object, path).entries()) {
          if (!isPort(Number(port)) || String(Number(port)) !== port)
            faults.push({ path: [...path, index], reason: notAPort(port) });
        }
      }
    }
  }
  return faults;
}

/** As Istio's definition demands: ports of a whole namespace would be ignored. */
function checkPeerAuthentication(object: PlainObject): Fault[] {
  const spec = valueAt(object, ["spec"]);
  if (valueAt(spec, ["portLevelMtls"]) === undefined) return [];
  const labels = valueAt(spec, ["selector", "matchLabels"]);
  if (typeof labels === "object" && labels !== null && Object.keys(labels).length > 0) return [];
  const reason = "ports are of workloads: portLevelMtls needs a selector with matchLabels";
  return [{ path: ["spec", "portLevelMtls"], reason }];
}

function checkServiceEntry(object: PlainObject): Fault[] {
  const spec = valueAt(object, ["spec"]);
  if (valueAt(spec, ["workloadSelector"]) === undefined || listAt(spec, ["endpoints"]).length === 0) return [];
  const reason = "a ServiceEntry has either endpoints or a workloadSelector";
  return [{ path: ["spec", "workloadSelector"], reason }];
}

function checkPorts(object: PlainObject, at: FieldPath, field: string): Fault[] {
  return listAt(object, at).flatMap((item, index) => {
    const port = valueAt(item, [field]);
    return port === undefined || (typeof port === "number" && isPort(port))
      ? []
      : [{ path: [...at, index, field], reason: notAPort(port) }];
  });
}

function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 65535;
}

function notAPort(value: unknown): string {
  return `${JSON.stringify(value)} is not a port (1 to 65535)`;
}

function listAt(object: unknown, path: FieldPath): readonly unknown[] {
  const value = valueAt(object, path);
  return Array.isArray(value) ? value : [];
}
