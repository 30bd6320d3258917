import { formatFieldPath, type FieldPath, type Problem } from "./problem.ts";
import { describeObject, type ManifestObject } from "./read-manifests.ts";
import { valueAt } from "./schema.ts";
import type { PlainObject } from "./validate-object.ts";

interface Reference {
  readonly path: FieldPath;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly consequence: string;
}

/**
 * Warns of references to objects that are neither among `existing` nor among the manifests: parentRefs and backendRefs of
 * routes, targetRefs of policies. They are warnings, as in a cluster, where the other object may come later; meanwhile the
 * object's status says the same.
 */
export function checkReferences(manifests: readonly ManifestObject[], existing: readonly PlainObject[]): Problem[] {
  const known = new Set([...existing, ...manifests.map(({ object }) => object)].map((object) => keyOf(object)));
  return manifests.flatMap((manifest) =>
    referencesOf(manifest.object)
      .filter(({ kind, namespace, name }) => !known.has(`${kind} ${namespace}/${name}`))
      .map(({ path, kind, namespace, name, consequence }) => ({
        severity: "warning" as const,
        file: manifest.file,
        line: manifest.lineOf(path),
        path: formatFieldPath(path),
        reason: `there is no ${kind} ${namespace}/${name}; ${consequence}`,
        object: describeObject(manifest.object),
      })),
  );
}

function keyOf(object: PlainObject): string {
  const metadata = object["metadata"] as { name?: string; namespace?: string } | undefined;
  return `${String(object["kind"])} ${metadata?.namespace ?? ""}/${metadata?.name ?? ""}`;
}

const referenced = ["Service", "Gateway", "ServiceEntry"];

function referencesOf(object: PlainObject): Reference[] {
  const namespace = (object["metadata"] as { namespace?: string }).namespace ?? "";
  const reference = (path: FieldPath, defaultKind: string, consequence: string): Reference[] => {
    const value = valueAt(object, path) as { kind?: string; namespace?: string; name?: string };
    const kind = value.kind ?? defaultKind;
    if (!referenced.includes(kind) || typeof value.name !== "string") return [];
    return [{ path: [...path, "name"], kind, namespace: value.namespace ?? namespace, name: value.name, consequence }];
  };
  const each = (path: FieldPath): FieldPath[] => {
    const list = valueAt(object, path);
    return Array.isArray(list) ? list.map((_, index) => [...path, index]) : [];
  };
  if (object["kind"] === "AuthorizationPolicy") {
    return each(["spec", "targetRefs"]).flatMap((path) =>
      reference(path, "Service", "the policy is not enforced until it exists"),
    );
  }
  if (!["HTTPRoute", "GRPCRoute", "TCPRoute"].includes(String(object["kind"]))) return [];
  const parents = each(["spec", "parentRefs"]).flatMap((path) =>
    reference(path, "Gateway", "the route is not used until it exists"),
  );
  const backends = each(["spec", "rules"])
    .flatMap((rule) => each([...rule, "backendRefs"]))
    .flatMap((path) => reference(path, "Service", "its share of the requests is answered 500"));
  return [...parents, ...backends];
}
