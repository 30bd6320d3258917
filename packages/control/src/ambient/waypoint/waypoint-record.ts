import { type Identity, parseIp, serviceHostname } from "@hairpin/shared/model";
import type { GatewayAddress } from "@hairpin/shared/model";
import type { Gateway, GatewayClass, Pod } from "../../collection/kubernetes-object.ts";
import { annotation, label } from "../../collection/label-match.ts";
import type { Memo } from "../../collection/memo.ts";
import type { Snapshot } from "../../collection/snapshot.ts";
import { type Problem, buildEach } from "../build-each.ts";
import { accountOf } from "../pod.ts";
import { type MeshConfig, hbonePort, identityOf } from "../mesh-config.ts";

export const waypointClassName = "istio-waypoint";
/** In a class of that name another controller's name means that its Gateways are not ours. */
export const waypointControllerName = "hairpin.mesh/waypoint-controller";
export const gatewayNameLabel = "gateway.networking.k8s.io/gateway-name";
export const managedLabel = "gateway.istio.io/managed";
const waypointForLabel = "istio.io/waypoint-for";
const serviceAccountAnnotation = "istio.io/for-service-account";

/** Written by control when a Gateway first took effect by rule 3 or 5; survives a restart of control. */
export const boundCondition = "hairpin.mesh/Bound";

type TrafficType = "service" | "workload" | "all" | "none";

/** A Gateway as far as binding is concerned. */
export interface WaypointRecord {
  readonly gateway: Gateway;
  /** `namespace/name` */
  readonly key: string;
  readonly name: string;
  readonly namespace: string;
  /** Its class is Hairpin's: it can be hairpinned to, and covers by rules 3 and 5. */
  readonly owned: boolean;
  readonly accepts: TrafficType;
  /** It carries `istio.io/waypoint-for`: upstream's rules, so only labels bind to it. */
  readonly byLabelOnly: boolean;
  readonly forServiceAccount: string | undefined;
  /** Where it is, or will be once it is ready. */
  readonly address: GatewayAddress;
  readonly ready: boolean;
  /** Whom a connection from this waypoint proves to be. */
  readonly identities: readonly Identity[];
  /** Rules 3 and 5: it has been ready with an acknowledged configuration at least once. */
  readonly effective: boolean;
}

/** What control remembers about replicas (push/waypoint-readiness.ts). */
export interface WaypointAcknowledgements {
  /** A ready replica of this Gateway (by key and uid) has acknowledged its configuration. */
  hasAcknowledged(key: string, uid: string): boolean;
}

/** All Gateways that are not being deleted. */
export function buildWaypoints(
  snapshot: Snapshot,
  context: {
    readonly config: MeshConfig;
    readonly acknowledgements: WaypointAcknowledgements;
    readonly memo: Memo<Gateway, WaypointRecord>;
    readonly problems: Problem[];
  },
): WaypointRecord[] {
  const { config, memo, acknowledgements } = context;
  const gateways = snapshot.list("Gateway").filter((gateway) => gateway.metadata.deletionTimestamp === undefined);
  return buildEach(gateways, context.problems, (gateway) => {
    const { name, namespace = "", uid = "" } = gateway.metadata;
    const className = gateway.spec?.gatewayClassName ?? "";
    const gatewayClass = snapshot.find("GatewayClass", "", className);
    const owned = className === waypointClassName && (gatewayClass === undefined || isOwnClass(gatewayClass));
    const acknowledged = acknowledgements.hasAcknowledged(`${namespace}/${name}`, uid);
    const pods = owned ? undefined : snapshot.listIn("Pod", namespace);
    return memo.get(gateway, [gatewayClass, acknowledged, pods], () =>
      buildWaypoint(gateway, { config, gatewayClass, acknowledged, owned, pods: pods ?? [] }),
    );
  });
}

/** `pods`: of its namespace, unless it is owned. */
function buildWaypoint(
  gateway: Gateway,
  context: {
    readonly config: MeshConfig;
    readonly gatewayClass: GatewayClass | undefined;
    readonly acknowledged: boolean;
    readonly owned: boolean;
    readonly pods: readonly Pod[];
  },
): WaypointRecord {
  const { name, namespace = "" } = gateway.metadata;
  const { config, gatewayClass, acknowledged, owned } = context;
  const key = `${namespace}/${name}`;
  const declared = label(gateway, waypointForLabel) ?? (gatewayClass && label(gatewayClass, waypointForLabel));
  const ready = isReady(gateway);
  return {
    gateway,
    key,
    name,
    namespace,
    owned,
    accepts: trafficType(declared, owned),
    byLabelOnly: declared !== undefined,
    forServiceAccount: annotation(gateway, serviceAccountAnnotation),
    address: addressOf(gateway, config),
    ready,
    identities: owned ? [waypointIdentity(gateway, config)] : foreignIdentities(gateway, context.pods, config),
    effective: hasCondition(gateway, boundCondition, "True") || (ready && acknowledged),
  };
}

export function isOwnClass({ spec }: GatewayClass): boolean {
  return spec?.controllerName === waypointControllerName;
}

/** The service account that replicas of an owned waypoint run as: its name, unless an annotation says otherwise. */
export function waypointAccount(gateway: Pick<Gateway, "metadata">): string {
  return annotation(gateway, "gateway.istio.io/service-account") ?? gateway.metadata.name;
}

/** The name of its Deployment and Service: its own, unless an annotation says otherwise. */
export function waypointName(gateway: Pick<Gateway, "metadata">): string {
  return annotation(gateway, "gateway.istio.io/name-override") ?? gateway.metadata.name;
}

function hasCondition(gateway: Gateway, type: string, status: string): boolean {
  return gateway.status?.conditions?.some((held) => held.type === type && held.status === status) ?? false;
}

function waypointIdentity(gateway: Gateway, config: MeshConfig): Identity {
  const namespace = gateway.metadata.namespace ?? "";
  return identityOf(config, { namespace, serviceAccount: waypointAccount(gateway) });
}

/** Somebody else's gateway: whatever its pods run as. */
function foreignIdentities(gateway: Gateway, pods: readonly Pod[], config: MeshConfig): Identity[] {
  const namespace = gateway.metadata.namespace ?? "";
  const accounts = pods.filter((pod) => label(pod, gatewayNameLabel) === gateway.metadata.name).map(accountOf);
  return [...new Set(accounts)].sort().map((serviceAccount) => identityOf(config, { namespace, serviceAccount }));
}

/** Upstream's default is `service`; an owned waypoint without the label covers everything (rule 5). */
function trafficType(declared: string | undefined, owned: boolean): TrafficType {
  if (declared === undefined) return owned ? "all" : "service";
  return declared === "workload" || declared === "all" || declared === "none" ? declared : "service";
}

/** It has an address, and nobody says that it is not programmed. */
function isReady(gateway: Gateway): boolean {
  return (gateway.status?.addresses ?? []).length > 0 && !hasCondition(gateway, "Programmed", "False");
}

/** A host name is preferred to an IP: a waypoint's replicas are then balanced. Without status: the name it will get. */
function addressOf(gateway: Gateway, config: MeshConfig): GatewayAddress {
  const namespace = gateway.metadata.namespace ?? "";
  const addresses = gateway.status?.addresses ?? [];
  const host = addresses.find((address) => address.type === "Hostname")?.value;
  const ip = addresses.find((address) => (address.type ?? "IPAddress") === "IPAddress")?.value;
  if (host === undefined && ip !== undefined) {
    const address = { network: config.network, ip: parseIp(ip) };
    return { destination: { kind: "address", address }, hboneMtlsPort: hbonePort };
  }
  const hostname = host ?? serviceHostname(waypointName(gateway), namespace, config.clusterDomain);
  return { destination: { kind: "hostname", hostname: { namespace, hostname } }, hboneMtlsPort: hbonePort };
}
