// Manifests of the local mesh as a cluster takes them: images for the containers, real names for the nodes. Pure.

import type { KubernetesObject } from "@hairpin/cli";

export interface ClusterPlaces {
  /** The image with the programs of e2e/apps. */
  readonly image: string;
  /** Where that image has them; what $(HAIRPIN_HOME) is in manifests. */
  readonly home: string;
  /** Nodes that `node1` and `node2` stand for. */
  readonly nodes: readonly string[];
}

interface Container {
  readonly env?: readonly { readonly name: string }[];
}

interface PodSpec {
  readonly nodeName?: string;
  readonly containers?: readonly Container[];
  readonly initContainers?: readonly Container[];
}

/** The objects for a cluster. Throws `Error` when a manifest wants more nodes than there are. */
export function toClusterObjects(objects: readonly KubernetesObject[], places: ClusterPlaces): KubernetesObject[] {
  return objects.filter(({ kind }) => kind !== "Node").map((object) => toClusterObject(object, places));
}

function toClusterObject(object: KubernetesObject, places: ClusterPlaces): KubernetesObject {
  if (object.kind === "Pod") return { ...object, spec: toPodSpec(object.spec as PodSpec, places) };
  if (object.kind !== "Deployment") return object;
  const spec = object.spec as { readonly template: { readonly spec: PodSpec } };
  return { ...object, spec: { ...spec, template: { ...spec.template, spec: toPodSpec(spec.template.spec, places) } } };
}

function toPodSpec(spec: PodSpec, places: ClusterPlaces): PodSpec {
  const containers = (list: readonly Container[] | undefined): readonly Container[] | undefined =>
    list?.map((container) => ({
      ...container,
      image: places.image,
      imagePullPolicy: "IfNotPresent",
      env: [{ name: "HAIRPIN_HOME", value: places.home }, ...(container.env ?? [])],
    }));
  const init = containers(spec.initContainers);
  return {
    ...spec,
    ...(spec.nodeName === undefined ? {} : { nodeName: nodeOf(spec.nodeName, places.nodes) }),
    containers: containers(spec.containers) ?? [],
    ...(init === undefined ? {} : { initContainers: init }),
  };
}

/** `node1` is the first node of the cluster. */
export function nodeOf(name: string, nodes: readonly string[]): string {
  const node = nodes[Number(/^node(\d+)$/.exec(name)?.[1] ?? Number.NaN) - 1];
  if (node === undefined) throw new Error(`The cluster has no ${name}: it has ${nodes.join(", ")}`);
  return node;
}
