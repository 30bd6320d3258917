// Short ways to write objects in tests.

import type { KubernetesObject, ObjectMeta, Pod, PodSpec } from "../object/kubernetes-object.ts";
import { ObjectStore } from "../store/object-store.ts";

/** A store with a namespace `shop` and two nodes. */
export function shopStore(): ObjectStore {
  const store = new ObjectStore();
  for (const name of ["shop", "istio-system"])
    store.create({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
  for (const name of ["node1", "node2"]) store.create({ apiVersion: "v1", kind: "Node", metadata: { name } });
  return store;
}

export function object(
  apiVersion: string,
  kind: string,
  name: string,
  rest: Record<string, unknown> = {},
): KubernetesObject {
  const { metadata, ...others } = rest;
  const meta: ObjectMeta = { name, namespace: "shop", ...(metadata as Partial<ObjectMeta> | undefined) };
  return { apiVersion, kind, metadata: meta, ...others };
}

export interface PodInit {
  readonly name: string;
  readonly ip?: string;
  readonly ready?: boolean;
  readonly labels?: Record<string, string>;
  readonly spec?: Partial<PodSpec>;
}

export function pod({ name, ip, ready = true, labels = {}, spec = {} }: PodInit): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "shop", labels },
    spec: { containers: [{ name: "main", command: ["true"] }], ...spec },
    status: {
      phase: "Running",
      ...(ip === undefined ? {} : { podIP: ip, podIPs: [{ ip }] }),
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
    },
  };
}
