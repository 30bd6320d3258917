import type { AuthorizationPolicy, Service, Workload } from "../model/index.ts";
import type { MeshChange } from "./mesh-change.ts";

/** A policy that came, cannot be read, and of which no good version is held: it refuses whom it may concern. */
export interface UnreadablePolicy {
  /** `namespace/name`. */
  readonly key: string;
  readonly reason: string;
  /** Undefined when not even the scope could be read. */
  readonly scope: AuthorizationPolicy["scope"] | undefined;
}

/**
 * What one update made of a mesh, as plain values that can be posted to another thread: its mesh takes them as a whole, and
 * reads and checks nothing again. Removals come first.
 */
export interface MeshUpdate {
  readonly removedWorkloads: readonly string[];
  readonly removedServices: readonly string[];
  readonly removedPolicies: readonly string[];
  readonly unreadablePolicies: readonly UnreadablePolicy[];
  readonly policies: readonly AuthorizationPolicy[];
  readonly services: readonly Service[];
  readonly workloads: readonly Workload[];
}

/** A mesh as far as its updates are made of it. */
export interface MeshContent {
  findWorkloadByUid(uid: string): Workload | undefined;
  findService(key: string): Service | undefined;
  findPolicy(key: string): AuthorizationPolicy | undefined;
  findUnreadablePolicy(key: string): UnreadablePolicy | undefined;
  workloads(): Iterable<Workload>;
  services(): Iterable<Service>;
  policies(): Iterable<AuthorizationPolicy>;
  unreadablePolicies(): Iterable<UnreadablePolicy>;
}

/** All that a mesh holds, for a mesh that holds nothing. In the order of arrival, on which ties of look-ups rest. */
export function wholeMesh(mesh: MeshContent): MeshUpdate {
  return {
    removedWorkloads: [],
    removedServices: [],
    removedPolicies: [],
    unreadablePolicies: [...mesh.unreadablePolicies()],
    policies: [...mesh.policies()],
    services: [...mesh.services()],
    workloads: [...mesh.workloads()],
  };
}

/** What a change leaves: call it in the change's listener. A service whose endpoints alone changed is in it too. */
export function meshUpdateOf(mesh: MeshContent, change: MeshChange): MeshUpdate {
  const workloads = lookUp(change.workloads, (uid) => mesh.findWorkloadByUid(uid));
  const services = lookUp(change.services, (key) => mesh.findService(key));
  const policies = lookUp(change.policies, (key) => mesh.findPolicy(key));
  const unreadable = lookUp(policies.missing, (key) => mesh.findUnreadablePolicy(key));
  return {
    removedWorkloads: workloads.missing,
    removedServices: services.missing,
    removedPolicies: unreadable.missing,
    unreadablePolicies: unreadable.found,
    policies: policies.found,
    services: services.found,
    workloads: workloads.found,
  };
}

const nothing: MeshUpdate = {
  removedWorkloads: [],
  removedServices: [],
  removedPolicies: [],
  unreadablePolicies: [],
  policies: [],
  services: [],
  workloads: [],
};

/**
 * A large update in parts of at most `size` workloads or services, so that a thread can serve between them: policies first and
 * together, what is gone last. A small one stays whole.
 */
export function sliceMeshUpdate(update: MeshUpdate, size: number): readonly MeshUpdate[] {
  const { services, workloads, removedServices, removedWorkloads, ...policies } = update;
  const removed = removedServices.length + removedWorkloads.length;
  if (services.length + workloads.length + removed <= size) return [update];
  return [
    { ...nothing, ...policies },
    ...slices(services, size).map((part) => ({ ...nothing, services: part })),
    ...slices(workloads, size).map((part) => ({ ...nothing, workloads: part })),
    ...slices(removedServices, size).map((part) => ({ ...nothing, removedServices: part })),
    ...slices(removedWorkloads, size).map((part) => ({ ...nothing, removedWorkloads: part })),
  ];
}

function slices<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, i) => values.slice(i * size, (i + 1) * size));
}

function lookUp<T>(
  keys: Iterable<string>,
  find: (key: string) => T | undefined,
): { readonly found: T[]; readonly missing: string[] } {
  const found: T[] = [];
  const missing: string[] = [];
  for (const key of keys) {
    const value = find(key);
    if (value === undefined) missing.push(key);
    else found.push(value);
  }
  return { found, missing };
}
