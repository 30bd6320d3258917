// apply and delete of user objects: all are checked before one is stored, and every mistake says where it stands.

import { isDeepStrictEqual } from "node:util";
import { groupOf, kindOfObject, namespaceKind, podKind } from "../object/kinds.ts";
import { type KubernetesObject, namespacedName, type ObjectMeta } from "../object/kubernetes-object.ts";
import { mergeApplied } from "./merge-applied.ts";
import { formatTime, type ObjectStore } from "./object-store.ts";
import { checkPodSpec } from "./check-pod-spec.ts";

interface ObjectOrigin {
  readonly file: string;
  readonly line: number;
}

export interface AppliedObject {
  readonly object: KubernetesObject;
  readonly origin: ObjectOrigin;
}

export interface ObjectMistake {
  readonly file: string;
  readonly line: number;
  /** Path within the object, such as `spec.containers[0].command`. */
  readonly path: string;
  readonly reason: string;
  /** `Kind namespace/name`, as far as known. */
  readonly object: string;
}

export interface ApplyResult {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly outcome: "created" | "configured" | "unchanged" | "deleted" | "not found";
}

export interface ApplyOutcome {
  readonly results: readonly ApplyResult[];
  readonly errors: readonly ObjectMistake[];
}

/** Applies user objects to a store and remembers what was applied, as kubectl's annotation does. */
export class ObjectApplier {
  readonly #store: ObjectStore;
  readonly #lastApplied = new Map<string, KubernetesObject>();

  constructor(store: ObjectStore) {
    this.#store = store;
    store.onChange(({ type, object }) => {
      if (type === "DELETED") this.#lastApplied.delete(identityOf(object));
    });
  }

  /** Stores all objects, or none when any is wrong. Namespaces come first, then the order given. */
  apply(entries: readonly AppliedObject[]): ApplyOutcome {
    const placed = entries.map((entry) => ({ ...entry, object: withDefaultNamespace(entry.object) }));
    const errors = placed.flatMap((entry) => this.#check(entry, placed));
    if (errors.length > 0) return { results: [], errors };
    const isNamespace = ({ object }: AppliedObject): boolean => object.kind === "Namespace";
    const ordered = [...placed.filter(isNamespace), ...placed.filter((entry) => !isNamespace(entry))];
    return { results: ordered.map(({ object }) => this.#applyOne(object)), errors: [] };
  }

  /** Deletes the named objects; those that do not exist are reported as `not found`. */
  delete(entries: readonly AppliedObject[]): ApplyOutcome {
    const placed = entries.map((entry) => ({ ...entry, object: withDefaultNamespace(entry.object) }));
    const errors = placed.flatMap((entry) => checkIdentity(entry));
    if (errors.length > 0) return { results: [], errors };
    return { results: placed.toReversed().map(({ object }) => this.#deleteOne(object)), errors: [] };
  }

  #applyOne(object: KubernetesObject): ApplyResult {
    const desired = userPart(object);
    const current = this.#store.findSame(object);
    const lastApplied = this.#lastApplied.get(identityOf(object));
    this.#lastApplied.set(identityOf(object), desired);
    if (current === undefined) {
      this.#store.create(desired);
      return describe(object, "created");
    }
    const merged = mergeApplied(lastApplied ?? {}, desired, current) as KubernetesObject;
    if (isDeepStrictEqual(merged, current)) return describe(object, "unchanged");
    this.#store.update(merged);
    return describe(object, "configured");
  }

  #deleteOne(object: KubernetesObject): ApplyResult {
    const current = this.#store.findSame(object);
    if (current === undefined) return describe(object, "not found");
    deleteGracefully(this.#store, current);
    return describe(object, "deleted");
  }

  #check(entry: AppliedObject, all: readonly AppliedObject[]): readonly ObjectMistake[] {
    const mistakes = checkIdentity(entry);
    if (mistakes.length > 0) return mistakes;
    const { object } = entry;
    const namespace = object.metadata.namespace;
    const isKnown = (name: string): boolean =>
      this.#store.find(namespaceKind, undefined, name) !== undefined ||
      all.some((other) => other.object.kind === "Namespace" && other.object.metadata.name === name);
    if (namespace !== undefined && !isKnown(namespace)) {
      const reason = `namespace ${JSON.stringify(namespace)} does not exist; apply a Namespace object of this name first`;
      return [mistakeAt(entry, "metadata.namespace", reason)];
    }
    return [...checkPodSpec(object), ...this.#checkImmutable(object)].map(({ path, reason }) =>
      mistakeAt(entry, path, reason),
    );
  }

  #checkImmutable(object: KubernetesObject): readonly { path: string; reason: string }[] {
    if (object.kind !== "Pod") return [];
    const current = this.#store.findSame(object);
    if (current === undefined) return [];
    const merged = mergeApplied(this.#lastApplied.get(identityOf(object)) ?? {}, userPart(object), current);
    if (isDeepStrictEqual((merged as KubernetesObject).spec, current.spec)) return [];
    return [{ path: "spec", reason: "a pod's spec cannot be changed; delete the pod first, or use a Deployment" }];
  }
}

/** Pods get a deletionTimestamp, so that their processes end in order; everything else goes at once. */
export function deleteGracefully(store: ObjectStore, object: KubernetesObject, wallTime: Date = new Date()): void {
  if (kindOfObject(object) !== podKind) {
    store.remove(object);
    return;
  }
  if (object.metadata.deletionTimestamp !== undefined) return;
  store.update({ ...object, metadata: { ...object.metadata, deletionTimestamp: formatTime(wallTime) } });
}

/** Names as in DNS (RFC 1123), which Kubernetes asks for; dots are allowed where Kubernetes allows them. */
const namePattern = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

function checkIdentity(entry: AppliedObject): readonly ObjectMistake[] {
  const { object } = entry;
  const kind = kindOfObject(object);
  if (kind === undefined) {
    const reason = `the local mesh does not know ${object.kind} of ${object.apiVersion}; remove it or correct apiVersion and kind`;
    return [mistakeAt(entry, "kind", reason)];
  }
  const version = object.apiVersion.slice(object.apiVersion.indexOf("/") + 1);
  if (!kind.versions.includes(version)) {
    const reason = `${kind.kind} is served as ${kind.versions.map((known) => (kind.group === "" ? known : `${kind.group}/${known}`)).join(", ")}`;
    return [mistakeAt(entry, "apiVersion", reason)];
  }
  if (!namePattern.test(object.metadata.name))
    return [mistakeAt(entry, "metadata.name", "must be a DNS name: lower case letters, digits, '-' and '.'")];
  return [];
}

function mistakeAt({ object, origin }: AppliedObject, path: string, reason: string): ObjectMistake {
  return { ...origin, path, reason, object: `${object.kind} ${namespacedName(object)}` };
}

function withDefaultNamespace(object: KubernetesObject): KubernetesObject {
  const kind = kindOfObject(object);
  if (kind === undefined) return object;
  const { namespace, ...metadata } = object.metadata;
  if (!kind.namespaced) return { ...object, metadata };
  return { ...object, metadata: { ...metadata, namespace: namespace ?? "default" } };
}

/** What a user may say; status and the system's metadata are the mesh's. */
function userPart(object: KubernetesObject): KubernetesObject {
  const { status: _status, ...rest } = object;
  const { name, namespace, labels, annotations, ownerReferences, generateName } = object.metadata;
  const metadata = Object.fromEntries(
    Object.entries({ name, namespace, labels, annotations, ownerReferences, generateName }).filter(
      ([, value]) => value !== undefined,
    ),
  ) as unknown as ObjectMeta;
  return { ...rest, metadata };
}

function describe(object: KubernetesObject, outcome: ApplyResult["outcome"]): ApplyResult {
  const { namespace, name } = object.metadata;
  return { kind: object.kind, ...(namespace === undefined ? {} : { namespace }), name, outcome };
}

function identityOf(object: KubernetesObject): string {
  return `${groupOf(object.apiVersion)}/${object.kind}/${namespacedName(object)}`;
}
