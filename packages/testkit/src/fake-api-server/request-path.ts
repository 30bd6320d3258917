import type { ServedKind } from "./served-kind.ts";

/** What a URL names. */
export type RequestTarget =
  | { readonly kind: "discovery"; readonly group: string | undefined; readonly version: string | undefined }
  | { readonly kind: "objects"; readonly served: ServedKind; readonly apiVersion: string; readonly namespace: string }
  | {
      readonly kind: "object";
      readonly served: ServedKind;
      readonly apiVersion: string;
      readonly namespace: string;
      readonly name: string;
      readonly subresource: string;
    }
  | { readonly kind: "review"; readonly plural: string };

/** Undefined: nothing is served there. */
export function parsePath(path: string, kinds: readonly ServedKind[]): RequestTarget | undefined {
  const [root, ...rest] = path
    .split("/")
    .filter((part) => part !== "")
    .map(decodeURIComponent);
  if (root !== "api" && root !== "apis") return undefined;
  const group = root === "api" ? "" : rest.shift();
  const version = rest.shift();
  if (rest.length === 0) return { kind: "discovery", group, version };
  const apiVersion = group === "" ? (version ?? "") : `${group ?? ""}/${version ?? ""}`;
  if (group === "authentication.k8s.io" || group === "authorization.k8s.io")
    return { kind: "review", plural: rest[0] ?? "" };
  // `namespaces/NAME` and `namespaces/NAME/status` are Namespaces; anything longer is within one.
  const isWithin = rest[0] === "namespaces" && rest.length > 2 && rest[2] !== "status";
  const namespace = isWithin ? (rest[1] ?? "") : "";
  const [plural, name, subresource = ""] = isWithin ? rest.slice(2) : rest;
  const served = kinds.find(
    (candidate) =>
      candidate.group === group && candidate.plural === plural && candidate.versions.includes(version ?? ""),
  );
  if (served === undefined) return undefined;
  if (name === undefined) return { kind: "objects", served, apiVersion, namespace };
  return { kind: "object", served, apiVersion, namespace, name, subresource };
}
