// Gateway of class istio-waypoint → ServiceAccount, Deployment, Service. Names, labels and ports are those of istiod's
// deployment controller. Pure; the local mesh builds the same objects with another runtime.

import {
  gatewayNameLabel,
  managedLabel,
  waypointAccount,
  waypointClassName,
  waypointName,
} from "../ambient/waypoint/waypoint-record.ts";
import { annotation } from "../collection/label-match.ts";
import type { Gateway } from "../collection/kubernetes-object.ts";
import type { AppliedMeta, AppliedObject, EnvironmentVariable, VolumeMount } from "./applied-object.ts";

const gatewayClassLabel = "gateway.networking.k8s.io/gateway-class-name";
/** What {@link managedLabel} says on our objects: Istio's. */
export const managedBy = "istio.io-mesh-controller";
const serviceTypeAnnotation = "networking.istio.io/service-type";
/** Annotations of the Gateway that concern the Gateway alone. */
const privateAnnotation = /^(gateway\.istio\.io\/|kubectl\.kubernetes\.io\/|istio\.io\/for-service-account$)/;
const metricsPort = 15_020;
const readinessPort = 15_021;

/** What of a Gateway decides about its waypoint. */
export type WaypointGateway = Pick<Gateway, "apiVersion" | "metadata" | "spec">;

/** What a replica runs as: differs between a cluster and the local mesh. */
export interface WaypointRuntime {
  /** Fields of the container besides its name, ports, readiness path, environment and mounts. */
  readonly container: Readonly<Record<string, unknown>>;
  readonly environment: readonly EnvironmentVariable[];
  readonly mounts: readonly VolumeMount[];
  /** Timing of the readiness probe. */
  readonly readiness: { readonly periodSeconds: number; readonly failureThreshold: number };
  /** Fields of the pod besides its account and container. */
  readonly pod: Readonly<Record<string, unknown>>;
  /** Fields of the Deployment besides selector and template. */
  readonly deployment: Readonly<Record<string, unknown>>;
  /** Label of the pods; "": none. */
  readonly network: string;
}

export interface WaypointObjects {
  readonly serviceAccount: AppliedObject;
  readonly deployment: AppliedObject;
  readonly service: AppliedObject;
}

/** Is it ours to deploy? A Gateway with a host name for address is deployed by somebody else. */
export function isDeployedGateway({ spec }: WaypointGateway): boolean {
  return (
    spec?.gatewayClassName === waypointClassName &&
    !(spec.addresses ?? []).some((address) => address.type === "Hostname")
  );
}

/** Everything that a Gateway's waypoint consists of, before overlays. */
export function buildWaypoint(gateway: WaypointGateway, runtime: WaypointRuntime): WaypointObjects {
  return {
    serviceAccount: {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: buildMetadata(gateway, waypointAccount(gateway)),
    },
    deployment: buildDeployment(gateway, runtime),
    service: buildService(gateway),
  };
}

/** The metadata that all objects of a waypoint carry: the Gateway's labels and annotations, ours, and who owns them. */
export function buildMetadata(gateway: WaypointGateway, name: string): AppliedMeta {
  const { metadata, spec } = gateway;
  const { labels, annotations } = spec?.infrastructure ?? metadata;
  const kept = Object.entries(labels ?? {}).filter(([key]) => !key.startsWith("gateway.networking.k8s.io/"));
  return {
    name,
    ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
    labels: {
      ...Object.fromEntries(kept),
      [gatewayNameLabel]: metadata.name,
      [gatewayClassLabel]: waypointClassName,
      [managedLabel]: managedBy,
    },
    annotations: Object.fromEntries(Object.entries(annotations ?? {}).filter(([key]) => !privateAnnotation.test(key))),
    ownerReferences: [
      {
        apiVersion: gateway.apiVersion,
        kind: "Gateway",
        name: metadata.name,
        uid: metadata.uid ?? "",
        controller: true,
      },
    ],
  };
}

/** How pods and Service of a waypoint find each other. */
export function podSelector({ metadata }: WaypointGateway): Readonly<Record<string, string>> {
  return { [gatewayNameLabel]: metadata.name };
}

function buildDeployment(gateway: WaypointGateway, runtime: WaypointRuntime): AppliedObject {
  const metadata = buildMetadata(gateway, waypointName(gateway));
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata,
    spec: {
      ...runtime.deployment,
      selector: { matchLabels: podSelector(gateway) },
      template: buildPodTemplate(gateway, metadata, runtime),
    },
  };
}

function buildPodTemplate(
  gateway: WaypointGateway,
  metadata: AppliedMeta,
  runtime: WaypointRuntime,
): Readonly<Record<string, unknown>> {
  const { container, environment, mounts, network, pod, readiness } = runtime;
  const { name } = gateway.metadata;
  return {
    metadata: {
      labels: {
        ...(network === "" ? {} : { "topology.istio.io/network": network }),
        ...metadata.labels,
        "sidecar.istio.io/inject": "false",
        "istio.io/dataplane-mode": "none",
        "service.istio.io/canonical-name": waypointName(gateway),
        "service.istio.io/canonical-revision": "latest",
      },
      annotations: {
        ...metadata.annotations,
        "prometheus.io/path": "/stats/prometheus",
        "prometheus.io/port": String(metricsPort),
        "prometheus.io/scrape": "true",
      },
    },
    spec: {
      ...pod,
      serviceAccountName: waypointAccount(gateway),
      containers: [
        {
          name: "istio-proxy",
          ...container,
          env: [...environment, { name: "WAYPOINT_NAME", value: name }],
          ports: [
            { name: "metrics", containerPort: metricsPort },
            { name: "status-port", containerPort: readinessPort },
          ],
          readinessProbe: { httpGet: { path: "/healthz/ready", port: readinessPort }, ...readiness },
          volumeMounts: [...mounts],
        },
      ],
    },
  };
}

function buildService(gateway: WaypointGateway): AppliedObject {
  const metadata = buildMetadata(gateway, waypointName(gateway));
  const listeners = (gateway.spec?.listeners ?? []).map(({ name, port, protocol }) => ({
    name,
    port,
    protocol: "TCP",
    appProtocol: protocol.toLowerCase(),
  }));
  const type = annotation(gateway, serviceTypeAnnotation);
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      ...metadata,
      annotations: { ...metadata.annotations, "networking.istio.io/traffic-distribution": "PreferClose" },
    },
    spec: {
      ...(type === undefined ? {} : { type }),
      ipFamilyPolicy: "PreferDualStack",
      selector: podSelector(gateway),
      ports: [{ name: "status-port", port: readinessPort, protocol: "TCP", appProtocol: "tcp" }, ...listeners],
    },
  };
}
