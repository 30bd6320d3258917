import { type Clock, errorCode } from "@hairpin/shared/process";
import type { Condition, KubernetesObject, RouteParentStatus } from "../collection/kubernetes-object.ts";
import type { KubernetesApi } from "@hairpin/shared/kubernetes";
import { ownConditionTypes } from "./own-conditions.ts";
import { RateLimiter } from "./rate-limiter.ts";
import { routeControllerName } from "./route-status.ts";
import type { StatusSink, StatusWrite } from "./status-writer.ts";

/** Owner of every status field that control applies; other writers of the same objects must use another. */
export const statusFieldManager = "hairpin-control";

const limits = { perSecond: 50, burst: 100 };
/** How often a write that met somebody else's is decided again before it is left to the writer's backoff. */
const maxConflicts = 5;
/** What the API server takes (`metav1.Condition`). */
const maxMessageLength = 32_768;

interface ObjectWithStatus extends KubernetesObject {
  readonly status?: { readonly conditions?: readonly Condition[]; readonly parents?: readonly RouteParentStatus[] };
}

/**
 * Writes statuses by server-side apply, each on the version of the object that it was decided for: what changed meanwhile is
 * read again. Conditions and entries of others stay, whether the list is merged by the server or is one value. At most 50
 * writes a second. An object that is gone is left alone. `fieldManager`: another owner, for a part of control that writes its own
 * fields on the same objects.
 */
export function createKubernetesStatusSink(
  components: {
    readonly api: KubernetesApi;
    readonly clock: Clock;
  },
  options: { readonly fieldManager?: string } = {},
): StatusSink {
  const { api, clock } = components;
  const { fieldManager = statusFieldManager } = options;
  const limiter = new RateLimiter(clock, limits);
  const writeOnce = async (write: StatusWrite): Promise<void> => {
    await limiter.take();
    const current = await api.get<ObjectWithStatus>(write);
    if (current === undefined) return;
    const applied = buildApplied(write, current, clock.wallTime());
    await api.apply(applied, { fieldManager, force: true, subresource: "status" });
  };
  return {
    write: async (write) => {
      for (let conflicts = 0; ; conflicts++) {
        try {
          return await writeOnce(write);
        } catch (error) {
          const code = errorCode(error);
          if (code === "API_NOT_FOUND" || code === "API_KIND_UNKNOWN") return;
          if (code !== "API_CONFLICT" || conflicts >= maxConflicts) throw error;
        }
      }
    },
  };
}

/** Everything that control says of the object now; what it said before and is not here is taken back by the server. */
function buildApplied(write: StatusWrite, current: ObjectWithStatus, now: Date): ObjectWithStatus {
  const { apiVersion, kind, metadata, status = {} } = current;
  const { name, namespace, resourceVersion, uid } = metadata;
  const held = status.conditions ?? [];
  const own = write.conditions.map((wanted) => stamp(wanted, held, now));
  const conditions = [...(isOneValue(current) ? foreignConditions(held, own) : []), ...own];
  const { parents, ...others } = write.merge ?? {};
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(uid === undefined ? {} : { uid }),
    },
    status: {
      ...others,
      ...(conditions.length === 0 ? {} : { conditions }),
      ...(parents === undefined ? {} : { parents: mergeParents(parents as RouteParentStatus[], status.parents ?? []) }),
    },
  };
}

function stamp(wanted: Condition, held: readonly Condition[], now: Date): Condition {
  const before = held.find(({ type }) => type === wanted.type);
  const kept = before?.status === wanted.status ? before.lastTransitionTime : undefined;
  return {
    ...wanted,
    message: wanted.message.slice(0, maxMessageLength),
    lastTransitionTime: kept ?? `${now.toISOString().slice(0, 19)}Z`,
  };
}

function foreignConditions(held: readonly Condition[], own: readonly Condition[]): Condition[] {
  const ours = new Set(own.map(({ type }) => type));
  return held.filter(({ type }) => !ours.has(type) && !ownConditionTypes.test(type));
}

/** `parents` is always one value; entries of other controllers are theirs, and may be newer than our snapshot. */
function mergeParents(
  wanted: readonly RouteParentStatus[],
  held: readonly RouteParentStatus[],
): readonly RouteParentStatus[] {
  const isOurs = ({ controllerName }: RouteParentStatus): boolean => controllerName === routeControllerName;
  return [...held.filter((parent) => !isOurs(parent)), ...wanted.filter(isOurs)];
}

interface ManagedFieldsEntry {
  readonly fieldsV1?: Readonly<Record<string, Readonly<Record<string, object>>>>;
}

/**
 * Whether `status.conditions` is owned as a whole (Istio's CRDs) or item by item. The owners of what is there say it, whatever
 * the schema is.
 */
function isOneValue({ metadata }: KubernetesObject): boolean {
  const entries = (metadata as { readonly managedFields?: readonly ManagedFieldsEntry[] }).managedFields ?? [];
  return entries.some(({ fieldsV1 }) => {
    const owned = fieldsV1?.["f:status"]?.["f:conditions"];
    return owned !== undefined && Object.keys(owned).length === 0;
  });
}
