import { errorCode, errorMessage } from "@hairpin/shared/process";
import type { KubernetesApi } from "@hairpin/shared/kubernetes";
import type { Logger } from "@hairpin/shared/telemetry";
import type { AppliedObject } from "./applied-object.ts";
import { gatewayKeyOf, type ManagedObject, type ManagedObjects, withoutBookkeeping } from "./managed-objects.ts";
import { managedLabel } from "../ambient/waypoint/waypoint-record.ts";
import { label } from "../collection/label-match.ts";

/** Istio's: what its controller applied before us is taken over whole, and what it gave and we do not give goes. */
const fieldManager = "istio.io/gateway-controller";

export interface ApplyResult {
  /** Objects of our names that are not ours (`Service way`). */
  readonly taken: readonly string[];
  /** What the API server refused, in words. */
  readonly problem: string | undefined;
}

interface Applied {
  readonly wanted: string;
  readonly held: string;
}

/** Makes a Gateway's objects what they shall be; remembers what it applied, so that nothing is written twice. */
export class WaypointApplier {
  readonly #components: { readonly api: KubernetesApi; readonly logger: Logger };
  readonly #managed: ManagedObjects;
  /** By uid. */
  readonly #applied = new Map<string, Applied>();

  constructor(components: { readonly api: KubernetesApi; readonly logger: Logger }, managed: ManagedObjects) {
    this.#components = components;
    this.#managed = managed;
  }

  /** Applies all objects that differ, and deletes those of the Gateway that are not among them. Rejects when the API server does not answer. */
  async apply(gatewayKey: string, gatewayUid: string, wanted: readonly AppliedObject[]): Promise<ApplyResult> {
    const taken: string[] = [];
    const problems: string[] = [];
    for (const object of wanted) {
      try {
        if (!(await this.#applyOne(gatewayKey, object))) taken.push(`${object.kind} ${object.metadata.name}`);
      } catch (error) {
        if (!["API_INVALID", "API_FORBIDDEN", "API_KIND_UNKNOWN"].includes(errorCode(error))) throw error;
        problems.push(`${object.kind} ${object.metadata.name}: ${errorMessage(error)}`);
      }
    }
    const names = new Set(wanted.map(nameOf));
    const surplus = this.#managed.listOf(gatewayKey).filter((object) => !names.has(nameOf(object)));
    await this.delete(surplus.filter((object) => isOwnedBy(object, gatewayUid)));
    return { taken, problem: problems.length === 0 ? undefined : problems.join("; ") };
  }

  /** Deletes exactly these, and not what has their names by then. */
  async delete(objects: readonly ManagedObject[]): Promise<void> {
    const { api, logger } = this.#components;
    for (const { apiVersion, kind, metadata } of objects) {
      const { namespace, name, uid } = metadata;
      const path = { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) };
      const isGone = await api.delete(path, {
        propagation: "Background",
        ...(uid === undefined ? {} : { preconditions: { uid } }),
      });
      this.#applied.delete(uid ?? "");
      if (isGone) logger.info("object deleted", { object: `${kind} ${namespace ?? ""}/${name}` });
    }
  }

  /** False: the name is somebody else's. */
  async #applyOne(gatewayKey: string, wanted: AppliedObject): Promise<boolean> {
    const { api, logger } = this.#components;
    const held = this.#managed.find(wanted) ?? (await this.#get(wanted));
    if (held !== undefined && (label(held, managedLabel) === undefined || gatewayKeyOf(held) !== gatewayKey))
      return false;
    const text = JSON.stringify(wanted);
    const known = held === undefined ? undefined : this.#applied.get(held.metadata.uid ?? "");
    if (held !== undefined && known?.wanted === text && known.held === JSON.stringify(withoutBookkeeping(held)))
      return true;
    const { uid } = held?.metadata ?? {};
    const metadata = { ...wanted.metadata, ...(uid === undefined ? {} : { uid }) };
    const result = await api.apply<ManagedObject>({ ...wanted, metadata }, { fieldManager, force: true });
    this.#applied.set(result.metadata.uid ?? "", { wanted: text, held: JSON.stringify(withoutBookkeeping(result)) });
    logger.info("object applied", {
      object: `${wanted.kind} ${wanted.metadata.namespace ?? ""}/${wanted.metadata.name}`,
    });
    return true;
  }

  async #get({ apiVersion, kind, metadata: { namespace, name } }: AppliedObject): Promise<ManagedObject | undefined> {
    const path = { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) };
    return await this.#components.api.get<ManagedObject>(path);
  }
}

export function isOwnedBy({ metadata }: ManagedObject, gatewayUid: string): boolean {
  return metadata.ownerReferences?.some(({ kind, uid }) => kind === "Gateway" && uid === gatewayUid) ?? false;
}

function nameOf({ kind, metadata }: { readonly kind: string; readonly metadata: { readonly name: string } }): string {
  return `${kind}/${metadata.name}`;
}
