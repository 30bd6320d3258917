// What control keeps of an object: the fields that kubernetes-object.ts names. Of a Pod that is a tenth.

import type { Kind, KindTypes } from "../collection/kind.ts";
import type { EndpointSlice, KubernetesObject, ObjectMeta, Pod } from "../collection/kubernetes-object.ts";
import { ownConditionTypes } from "../status/own-conditions.ts";

/** Annotations of these domains say something to the mesh. */
const meshDomains = /(?:^|\.)(?:istio\.io|hairpin\.mesh)$/;
const lastAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration";

type Annotations = Readonly<Record<string, string>>;

/** A copy without what control never reads; shares unchanged parts with `object`. */
export function trimObject<K extends Kind>(kind: K, object: KindTypes[K]): KindTypes[K] {
  const trimmer = trimmers[kind];
  return (trimmer ?? trimUsersObject)(object);
}

/** Kinds of which there are many; of the others, a user's own objects, everything but bookkeeping stays. */
const trimmers: { readonly [K in Kind]?: (object: KindTypes[K]) => KindTypes[K] } = {
  Pod: trimPod,
  Node: (node) => bare(node),
  Namespace: (namespace) => bare(namespace),
  EndpointSlice: trimEndpointSlice,
};

function trimUsersObject<T extends KubernetesObject>(object: T): T {
  return {
    ...object,
    metadata: trimMetadata(object.metadata, (key) => key !== lastAppliedAnnotation),
  };
}

function bare({ apiVersion, kind, metadata }: KubernetesObject): KubernetesObject {
  return { apiVersion, kind, metadata: trimMetadata(metadata, isMeshAnnotation) };
}

function trimPod(pod: Pod): Pod {
  const { spec = {}, status = {} } = pod;
  const { nodeName, serviceAccountName, hostNetwork, containers = [], initContainers = [] } = spec;
  const { phase, podIP, podIPs, conditions = [] } = status;
  const restartable = initContainers.filter(({ restartPolicy }) => restartPolicy === "Always");
  return {
    ...bare(pod),
    spec: defined({
      nodeName,
      serviceAccountName,
      hostNetwork,
      containers: containers.map(trimContainer).filter(({ ports }) => ports !== undefined),
      initContainers: restartable.length === 0 ? undefined : restartable.map(trimContainer),
    }),
    status: defined({
      phase,
      podIP,
      podIPs,
      conditions: conditions.flatMap((condition) => {
        if (ownConditionTypes.test(condition.type)) return [condition];
        return condition.type === "Ready" ? [{ type: condition.type, status: condition.status }] : [];
      }),
    }),
  };
}

type Container = NonNullable<NonNullable<Pod["spec"]>["containers"]>[number];

function trimContainer({ ports, restartPolicy }: Container): Container {
  return defined({ ports, restartPolicy });
}

function trimEndpointSlice(slice: EndpointSlice): EndpointSlice {
  // The API server gives null for none.
  const { addressType } = slice;
  const ports = slice.ports ?? undefined;
  const endpoints = slice.endpoints ?? [];
  return {
    ...bare(slice),
    ...defined({ addressType, ports }),
    endpoints: endpoints.map(({ addresses, conditions, targetRef }) =>
      defined({
        addresses,
        conditions: conditions === undefined ? undefined : defined({ ready: conditions.ready }),
        targetRef,
      }),
    ),
  };
}

function trimMetadata(metadata: ObjectMeta, keep: (annotation: string) => boolean): ObjectMeta {
  const { name, namespace, uid, labels, creationTimestamp, deletionTimestamp, generateName } = metadata;
  const { generation, resourceVersion, ownerReferences } = metadata;
  return {
    name,
    ...defined({
      namespace,
      uid,
      labels,
      annotations: filtered(metadata.annotations, keep),
      creationTimestamp,
      deletionTimestamp,
      generateName,
      generation,
      resourceVersion,
      ownerReferences: ownerReferences?.map(({ kind, name: owner, controller }) =>
        defined({ kind, name: owner, controller }),
      ),
    }),
  };
}

function filtered(annotations: Annotations | undefined, keep: (key: string) => boolean): Annotations | undefined {
  const kept = Object.entries(annotations ?? {}).filter(([key]) => keep(key));
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

function isMeshAnnotation(key: string): boolean {
  return meshDomains.test(key.split("/")[0] ?? "");
}

type Defined<T> = { readonly [K in keyof T]: Exclude<T[K], undefined> };

/** Without fields that are undefined. */
function defined<T extends object>(fields: T): Partial<Defined<T>> & Pick<T, RequiredKeys<T>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<Defined<T>> &
    Pick<T, RequiredKeys<T>>;
}

type RequiredKeys<T> = { [K in keyof T]-?: undefined extends T[K] ? never : K }[keyof T];
