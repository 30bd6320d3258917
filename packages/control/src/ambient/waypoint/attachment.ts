import type { GatewayListener, Namespace } from "../../collection/kubernetes-object.ts";
import { matchSelector } from "../../collection/label-match.ts";
import { hbonePort } from "../mesh-config.ts";
import type { WaypointRecord } from "./waypoint-record.ts";

/**
 * Whether objects of a namespace may bind to the waypoint: allowedRoutes of its HBONE listener. Without a listener or
 * without allowedRoutes only its own namespace may.
 */
export function allowsNamespace(waypoint: WaypointRecord, namespaceName: string, namespace?: Namespace): boolean {
  const allowed = hboneListener(waypoint)?.allowedRoutes?.namespaces;
  switch (allowed?.from) {
    case "All":
      return true;
    case "Selector":
      return namespace !== undefined && matchSelector(labelsOf(namespace), allowed.selector ?? {});
    case "None":
      return false;
    default:
      return namespaceName === waypoint.namespace;
  }
}

/** Kubernetes puts the name label on every Namespace; the local mesh need not. */
function labelsOf(namespace: Namespace): Readonly<Record<string, string>> {
  return { "kubernetes.io/metadata.name": namespace.metadata.name, ...namespace.metadata.labels };
}

function hboneListener(waypoint: WaypointRecord): GatewayListener | undefined {
  const listeners = waypoint.gateway.spec?.listeners ?? [];
  return listeners.find((listener) => listener.port === hbonePort && listener.protocol.toUpperCase() === "HBONE");
}
