// Gateway of class istio-waypoint → ServiceAccount, Deployment, Service, and the Gateway's status. As istiod's deployment
// controller names and labels them.

import type { DaemonConfig } from "../daemon/daemon-config.ts";
import { clusterIpsOf } from "../fabric/plan-service-rules.ts";
import { deploymentKind, gatewayKind, podKind, serviceAccountKind, serviceKind } from "../object/kinds.ts";
import type {
  Deployment,
  Gateway,
  KubernetesObject,
  ObjectMeta,
  PodTemplate,
  Service,
} from "../object/kubernetes-object.ts";
import {
  credentialMounts,
  credentialVolumes,
  partCommand,
  partReadiness,
  proxyEnvironment,
} from "../part/mesh-part-pod.ts";
import { controlAddress } from "../part/mesh-objects.ts";
import type { StoreView } from "../store/object-store.ts";
import { create, type Planner, remove, type StoreChange, update } from "./planner.ts";
import { controllerReference, isOwnedBy, isReady } from "./plan-deployments.ts";

const waypointClass = "istio-waypoint";
const managedLabel = "gateway.istio.io/managed";
const gatewayNameLabel = "gateway.networking.k8s.io/gateway-name";
const gatewayClassLabel = "gateway.networking.k8s.io/gateway-class-name";
const managedBy = "istio.io-mesh-controller";
const serviceAccountAnnotation = "gateway.istio.io/service-account";
/** Annotations of the Gateway that concern the Gateway alone. */
const privateAnnotation = /^(gateway\.istio\.io\/|kubectl\.kubernetes\.io\/|istio\.io\/for-service-account$)/;
const statusManager = "hairpin-deployer";

export interface WaypointRuntime {
  readonly config: DaemonConfig;
  /** Whom replicas run as: 1337 like Istio's, unless only the owner of this project's files can read them. */
  readonly user: number;
}

export function createWaypointPlanner(runtime: WaypointRuntime): Planner {
  return function planWaypoints(view) {
    return view.list(gatewayKind).flatMap((gateway) => (isDeployed(gateway) ? planOne(gateway, runtime, view) : []));
  };
}

/** A Gateway with a host name for address is deployed by somebody else. */
function isDeployed({ spec }: Gateway): boolean {
  return (
    spec?.gatewayClassName === waypointClass && !(spec.addresses ?? []).some((address) => address.type === "Hostname")
  );
}

function planOne(gateway: Gateway, runtime: WaypointRuntime, view: StoreView): readonly StoreChange[] {
  const { name, namespace = "default" } = gateway.metadata;
  const wanted = [serviceAccountOf(gateway), deploymentOf(gateway, runtime), serviceOf(gateway)];
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
  return [...changes, ...surplus.map((object) => remove(object)), statusOf(gateway, runtime, view, blocked)];

  function withWanted(current: KubernetesObject, object: KubernetesObject): KubernetesObject {
    const metadata = { ...current.metadata, labels: object.metadata.labels, annotations: object.metadata.annotations };
    const spec = { ...(current.spec as object | undefined), ...(object.spec as object | undefined) };
    const merged = { ...current, metadata: metadata as ObjectMeta };
    return object.spec === undefined ? merged : { ...merged, spec };
  }

  function statusOf(
    { status }: Gateway,
    { config }: WaypointRuntime,
    storeView: StoreView,
    obstacles: readonly string[],
  ): StoreChange {
    const replicas = storeView
      .list(podKind, namespace)
      .filter(
        (pod) => pod.metadata.labels?.[gatewayNameLabel] === name && pod.metadata.labels[managedLabel] !== undefined,
      );
    const isBlocked = obstacles.length > 0;
    const isProgrammed = !isBlocked && replicas.some((pod) => isReady(pod));
    // The address of somebody else's Service is not the waypoint's.
    const service = isBlocked ? undefined : storeView.find(serviceKind, namespace, name);
    const ips = clusterIpsOf(service ?? { apiVersion: "v1", kind: "Service", metadata: { name } });
    const addresses = [
      ...ips.map((value) => ({ type: "IPAddress", value })),
      { type: "Hostname", value: `${name}.${namespace}.svc.${config.clusterDomain}` },
    ];
    const hasAddresses = (isProgrammed && ips.length > 0) || (status?.addresses ?? []).length > 0;
    const unready = hasAddresses ? "NoReadyReplica" : "AddressNotAssigned";
    const reason = isBlocked ? "Invalid" : isProgrammed ? "Programmed" : unready;
    const message = isBlocked
      ? `${obstacles.join(", ")} exists and is not managed by a Gateway; rename one of them`
      : isProgrammed
        ? `${replicas.filter((pod) => isReady(pod)).length} of ${replicas.length} replicas are ready`
        : "no replica of the waypoint is ready";
    return {
      type: "status",
      update: {
        apiVersion: gateway.apiVersion,
        kind: "Gateway",
        namespace,
        name,
        manager: statusManager,
        conditions: [
          {
            type: "Programmed",
            status: isProgrammed ? "True" : "False",
            reason,
            message,
            observedGeneration: gateway.metadata.generation ?? 1,
          },
        ],
        ...(hasAddresses && ips.length > 0 ? { merge: { addresses } } : {}),
      },
    };
  }
}

/** Labels and annotations that all objects of a waypoint carry. */
function metadataOf(gateway: Gateway, name: string): ObjectMeta {
  const { infrastructure } = gateway.spec ?? {};
  const labels = infrastructure === undefined ? gateway.metadata.labels : infrastructure.labels;
  const annotations = infrastructure === undefined ? gateway.metadata.annotations : infrastructure.annotations;
  const kept = Object.entries(labels ?? {}).filter(([key]) => !key.startsWith("gateway.networking.k8s.io/"));
  const { namespace } = gateway.metadata;
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    labels: {
      ...Object.fromEntries(kept),
      [gatewayNameLabel]: gateway.metadata.name,
      [gatewayClassLabel]: waypointClass,
      [managedLabel]: managedBy,
    },
    annotations: Object.fromEntries(Object.entries(annotations ?? {}).filter(([key]) => !privateAnnotation.test(key))),
    ownerReferences: [controllerReference(gateway)],
  };
}

/** Its replicas' service account: the Gateway's name, unless an annotation says otherwise. */
function accountName(gateway: Gateway): string {
  return gateway.metadata.annotations?.[serviceAccountAnnotation] ?? gateway.metadata.name;
}

function serviceAccountOf(gateway: Gateway): KubernetesObject {
  return { apiVersion: "v1", kind: "ServiceAccount", metadata: metadataOf(gateway, accountName(gateway)) };
}

function deploymentOf(gateway: Gateway, runtime: WaypointRuntime): Deployment {
  const { name } = gateway.metadata;
  const metadata = metadataOf(gateway, name);
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata,
    spec: {
      selector: { matchLabels: { [gatewayNameLabel]: name } },
      template: podTemplateOf(gateway, metadata, runtime),
    },
  };
}

function podTemplateOf(gateway: Gateway, metadata: ObjectMeta, { config, user }: WaypointRuntime): PodTemplate {
  const { name } = gateway.metadata;
  return {
    metadata: {
      labels: {
        ...metadata.labels,
        "sidecar.istio.io/inject": "false",
        "istio.io/dataplane-mode": "none",
        "service.istio.io/canonical-name": name,
        "service.istio.io/canonical-revision": "latest",
      },
      annotations: {
        ...metadata.annotations,
        "prometheus.io/path": "/stats/prometheus",
        "prometheus.io/port": "15020",
        "prometheus.io/scrape": "true",
      },
    },
    spec: {
      serviceAccountName: accountName(gateway),
      terminationGracePeriodSeconds: 30,
      securityContext: { runAsUser: user, runAsGroup: user },
      containers: [
        {
          name: "istio-proxy",
          command: partCommand("waypoint"),
          env: [...proxyEnvironment(config, controlAddress(config)), { name: "WAYPOINT_NAME", value: name }],
          ports: [
            { name: "metrics", containerPort: 15_020 },
            { name: "status-port", containerPort: 15_021 },
          ],
          readinessProbe: partReadiness("/healthz/ready", 15_021),
          volumeMounts: credentialMounts,
        },
      ],
      volumes: credentialVolumes,
    },
  };
}

function serviceOf(gateway: Gateway): Service {
  const { name } = gateway.metadata;
  const metadata = metadataOf(gateway, name);
  const listeners = (gateway.spec?.listeners ?? []).map((listener) => ({
    name: listener.name,
    port: listener.port,
    protocol: "TCP",
    appProtocol: listener.protocol.toLowerCase(),
  }));
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      ...metadata,
      annotations: { ...metadata.annotations, "networking.istio.io/traffic-distribution": "PreferClose" },
    },
    spec: {
      ipFamilyPolicy: "PreferDualStack",
      selector: { [gatewayNameLabel]: name },
      ports: [{ name: "status-port", port: 15_021, protocol: "TCP", appProtocol: "tcp" }, ...listeners],
    },
  };
}
