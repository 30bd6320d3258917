// Everything that control makes in a cluster, and that belongs to no release.

import { ApiError, type KubernetesApi, type KubernetesObject, type ResourceKind } from "@hairpin/shared/kubernetes";
import { ownSecretName } from "../authority/ca-secret.ts";
import { stateSecretName } from "../authority/transition-secret.ts";
import { managedLabel, waypointClassName, waypointControllerName } from "../ambient/waypoint/waypoint-record.ts";
import { fieldManager as rootManager } from "../deploy/root-config-maps.ts";
import { managedKinds } from "../deploy/managed-objects.ts";
import { rootCertConfigMap } from "../deploy/proxy-pod.ts";
import { managedBy } from "../deploy/waypoint-objects.ts";
import { leaseName } from "../kubernetes/lease-election.ts";
import type { UninstallComponents } from "./uninstall.ts";
import { isWrittenBy, type WrittenObject } from "./written-by.ts";

/** What {@link KubernetesApi.create} writes when nobody says otherwise. */
const controlManager = "hairpin-control";

interface GatewayClass extends KubernetesObject {
  readonly spec?: { readonly controllerName?: string };
}

/** Waypoints, root certificates of the namespaces, the CA's own Secrets, the lease, the GatewayClass. What others made stays. */
export async function deleteMade({ api, say }: UninstallComponents, rootNamespace: string): Promise<void> {
  for (const { group, kind } of managedKinds) {
    const served = await api.findServed(group, kind);
    if (served === undefined) continue;
    const found = await list(api, served, { labelSelector: `${managedLabel}=${managedBy}` });
    say(`${kind} of waypoints: ${await remove(api, found)} deleted`);
  }
  const roots = await list(
    api,
    { apiVersion: "v1", kind: "ConfigMap" },
    { fieldSelector: `metadata.name=${rootCertConfigMap}` },
  );
  say(
    `ConfigMap ${rootCertConfigMap}: ${await remove(
      api,
      roots.filter((object) => isWrittenBy(object, rootManager)),
    )} deleted`,
  );
  for (const path of [
    { apiVersion: "v1", kind: "Secret", name: ownSecretName },
    { apiVersion: "v1", kind: "Secret", name: stateSecretName },
    { apiVersion: "coordination.k8s.io/v1", kind: "Lease", name: leaseName },
  ]) {
    const found = await api.get<WrittenObject>({ ...path, namespace: rootNamespace });
    if (found !== undefined && isWrittenBy(found, controlManager)) await remove(api, [found]);
  }
  await deleteGatewayClass(api);
}

async function deleteGatewayClass(api: KubernetesApi): Promise<void> {
  const served = await api.findServed("gateway.networking.k8s.io", "GatewayClass");
  if (served === undefined) return;
  const found = await api.get<GatewayClass>({ ...served, name: waypointClassName });
  if (found?.spec?.controllerName === waypointControllerName) await remove(api, [found]);
}

async function list(
  api: KubernetesApi,
  kind: ResourceKind,
  selection: { readonly labelSelector?: string; readonly fieldSelector?: string },
): Promise<readonly WrittenObject[]> {
  return (await api.list<WrittenObject>(kind, selection)).items;
}

/** How many there were. One that has been replaced since is somebody else's. */
async function remove(api: KubernetesApi, objects: readonly KubernetesObject[]): Promise<number> {
  let removed = 0;
  for (const { apiVersion, kind, metadata } of objects) {
    const { namespace, name, uid } = metadata;
    const path = { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) };
    try {
      if (await api.delete(path, uid === undefined ? {} : { preconditions: { uid } })) removed += 1;
    } catch (error) {
      if (!(error instanceof ApiError && error.code === "API_CONFLICT")) throw error;
    }
  }
  return removed;
}
