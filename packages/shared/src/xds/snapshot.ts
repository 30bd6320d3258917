import { hash } from "node:crypto";
import type { ServedResource } from "./delta-server-options.ts";

export interface VersionedResource extends ServedResource {
  readonly version: string;
}

interface HeldResource extends VersionedResource {
  /** As it was handed over: the same object again means that nothing changed. */
  readonly given: ServedResource;
}

/** All resources of one type and scope, with indexes for on-demand names. */
export class Snapshot {
  readonly #byName = new Map<string, HeldResource>();
  /** Alias → names. */
  readonly #byAlias = new Map<string, Set<string>>();
  /** Followed name → names of the followers. */
  readonly #followers = new Map<string, Set<string>>();

  get(name: string): VersionedResource | undefined {
    return this.#byName.get(name);
  }

  get size(): number {
    return this.#byName.size;
  }

  names(): Iterable<string> {
    return this.#byName.keys();
  }

  /** Replaces everything. Returns the names added, changed or removed. */
  replace(resources: Iterable<ServedResource>): ReadonlySet<string> {
    const changed = new Set<string>();
    const named = new Set<string>();
    for (const resource of resources) {
      named.add(resource.name);
      if (this.#set(resource)) changed.add(resource.name);
    }
    for (const name of this.#byName.keys()) if (!named.has(name) && this.#delete(name)) changed.add(name);
    return changed;
  }

  update(upserts: Iterable<ServedResource>, removed: Iterable<string>): ReadonlySet<string> {
    const changed = new Set<string>();
    for (const name of removed) if (this.#delete(name)) changed.add(name);
    for (const resource of upserts) if (this.#set(resource)) changed.add(resource.name);
    return changed;
  }

  /** The resources that a name or alias means. */
  resolve(nameOrAlias: string): readonly string[] {
    const aliased = this.#byAlias.get(nameOrAlias) ?? [];
    return this.#byName.has(nameOrAlias) ? [nameOrAlias, ...aliased] : [...aliased];
  }

  followersOf(name: string): Iterable<string> {
    return this.#followers.get(name) ?? [];
  }

  #set(resource: ServedResource): boolean {
    const before = this.#byName.get(resource.name);
    // Bytes, aliases and names that it follows are those of the object that was given before.
    if (before?.given === resource) return false;
    const version = before?.body === resource.body ? before.version : versionOf(resource.body);
    if (before !== undefined) this.#unindex(before);
    this.#byName.set(resource.name, { ...resource, version, given: resource });
    for (const alias of resource.aliases ?? []) addTo(this.#byAlias, alias, resource.name);
    for (const followed of resource.follows ?? []) addTo(this.#followers, followed, resource.name);
    return before?.version !== version;
  }

  #delete(name: string): boolean {
    const before = this.#byName.get(name);
    if (before === undefined) return false;
    this.#unindex(before);
    return this.#byName.delete(name);
  }

  #unindex(resource: ServedResource): void {
    for (const alias of resource.aliases ?? []) removeFrom(this.#byAlias, alias, resource.name);
    for (const followed of resource.follows ?? []) removeFrom(this.#followers, followed, resource.name);
  }
}

/** 64 bits are plenty to tell two versions of one resource apart (istiod: xxhash64). */
function versionOf(body: Uint8Array): string {
  return hash("sha256", body, "hex").slice(0, 16);
}

function addTo(index: Map<string, Set<string>>, key: string, name: string): void {
  const names = index.get(key);
  if (names) names.add(name);
  else index.set(key, new Set([name]));
}

function removeFrom(index: Map<string, Set<string>>, key: string, name: string): void {
  const names = index.get(key);
  names?.delete(name);
  if (names?.size === 0) index.delete(key);
}
