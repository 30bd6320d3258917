// Gateway of class istio-waypoint → ServiceAccount, Deployment, Service, and the Gateway's status. As istiod's deployment
// controller names and labels them.

import {
  buildWaypoint,
  describeWaypoint,
  gatewayNameLabel,
  isDeployedGateway,
  managedLabel,
  type WaypointRuntime,
} from "@hairpin/control/deploy";
import type { DaemonConfig } from "../daemon/daemon-config.ts";
import { clusterIpsOf } from "../fabric/plan-service-rules.ts";
import { deploymentKind, gatewayKind, podKind, serviceAccountKind, serviceKind } from "../object/kinds.ts";
import type { Gateway, KubernetesObject, ObjectMeta } from "../object/kubernetes-object.ts";
import { partCommand, partEnvironment, partMounts, partVolumes } from "../part/mesh-part-pod.ts";
import { controlAddress } from "../part/mesh-objects.ts";
import type { StoreView } from "../store/object-store.ts";
import { create, type Planner, remove, type StoreChange, update } from "./planner.ts";
import { isOwnedBy, isReady } from "./plan-deployments.ts";

const statusManager = "hairpin-deployer";

export interface LocalWaypoints {
  readonly config: DaemonConfig;
  /** Whom replicas run as: 1337 like Istio's, unless only the owner of this project's files can read them. */
  readonly user: number;
}

export function createWaypointPlanner({ config, user }: LocalWaypoints): Planner {
  const runtime: WaypointRuntime = {
    container: { command: partCommand("waypoint") },
    environment: partEnvironment(config, controlAddress(config)),
    mounts: partMounts,
    readiness: { periodSeconds: 2, failureThreshold: 2 },
    pod: {
      terminationGracePeriodSeconds: 30,
      securityContext: { runAsUser: user, runAsGroup: user },
      volumes: partVolumes,
    },
    deployment: {},
    network: "",
  };
  return function planWaypoints(view) {
    return view
      .list(gatewayKind)
      .flatMap((gateway) => (isDeployedGateway(gateway) ? planOne(gateway, { config, runtime }, view) : []));
  };
}

interface Place {
  readonly config: DaemonConfig;
  readonly runtime: WaypointRuntime;
}

function planOne(gateway: Gateway, { config, runtime }: Place, view: StoreView): readonly StoreChange[] {
  const { name, namespace = "default" } = gateway.metadata;
  const wanted: readonly KubernetesObject[] = Object.values(buildWaypoint(gateway, runtime));
  const kindOf = { ServiceAccount: serviceAccountKind, Deployment: deploymentKind, Service: serviceKind } as const;
  const blocked: string[] = [];
  const changes = wanted.flatMap((object): readonly StoreChange[] => {
    const kind = kindOf[object.kind as keyof typeof kindOf];
    const current = view.find<KubernetesObject>(kind, namespace, object.metadata.name);
    if (current === undefined) return [create(object)];
    if (current.metadata.labels?.[managedLabel] === undefined) {
      blocked.push(`${object.kind} ${object.metadata.name}`);
      return [];
    }
    return [update(withWanted(current, object))];
  });
  // What an earlier state of this Gateway asked for under another name.
  const names = new Set(wanted.map((object) => `${object.kind}/${object.metadata.name}`));
  const surplus = [serviceAccountKind, deploymentKind, serviceKind]
    .flatMap((kind) => view.list<KubernetesObject>(kind, namespace))
    .filter((object) => isOwnedBy(object, gateway) && !names.has(`${object.kind}/${object.metadata.name}`));
  return [...changes, ...surplus.map((object) => remove(object)), statusOf(view, blocked)];

  function withWanted(current: KubernetesObject, object: KubernetesObject): KubernetesObject {
    const metadata = { ...current.metadata, labels: object.metadata.labels, annotations: object.metadata.annotations };
    const spec = { ...(current.spec as object | undefined), ...(object.spec as object | undefined) };
    const merged = { ...current, metadata: metadata as ObjectMeta };
    return object.spec === undefined ? merged : { ...merged, spec };
  }

  function statusOf(storeView: StoreView, obstacles: readonly string[]): StoreChange {
    const replicas = storeView
      .list(podKind, namespace)
      .filter(
        (pod) => pod.metadata.labels?.[gatewayNameLabel] === name && pod.metadata.labels[managedLabel] !== undefined,
      );
    // The address of somebody else's Service is not the waypoint's.
    const service = obstacles.length > 0 ? undefined : storeView.find(serviceKind, namespace, name);
    const state = {
      replicas: replicas.length,
      ready: replicas.filter((pod) => isReady(pod)).length,
      clusterIps: clusterIpsOf(service ?? { apiVersion: "v1", kind: "Service", metadata: { name } }),
      taken: obstacles,
      problem: undefined,
    };
    const { conditions, addresses } = describeWaypoint(gateway, state, config.clusterDomain);
    const observedGeneration = gateway.metadata.generation ?? 1;
    return {
      type: "status",
      update: {
        apiVersion: gateway.apiVersion,
        kind: "Gateway",
        namespace,
        name,
        manager: statusManager,
        conditions: conditions.map((condition) => ({ ...condition, observedGeneration })),
        ...(addresses === undefined ? {} : { merge: { addresses } }),
      },
    };
  }
}
