// Messages of the model as resources with names, aliases and bytes.

import { create, toBinary } from "@bufbuild/protobuf";
import { hairpinWaypoint, istioSecurity, istioWorkload } from "@hairpin/shared/api";
import { formatIp, formatNetworkAddress } from "@hairpin/shared/model";
import type { ServedResource } from "@hairpin/shared/xds";
import type { AmbientModel } from "../ambient/ambient-model.ts";
import type { WaypointResources } from "../gateway/waypoint-resources.ts";
import { nodeFollowName } from "./client-role.ts";

export function addressResources(model: AmbientModel): ServedResource[] {
  return [...model.serviceMessages.map(serviceResource), ...model.workloadMessages.map(workloadResource)];
}

function serviceResource(service: istioWorkload.Service): ServedResource {
  return {
    name: `${service.namespace}/${service.hostname}`,
    aliases: service.addresses.map(({ network, address, length }) => {
      const name = formatNetworkAddress({ network, ip: formatIp(address) });
      return length === undefined ? name : `${name}/${length}`;
    }),
    body: encodeAddress({ case: "service", value: service }),
  };
}

function workloadResource(workload: istioWorkload.Workload): ServedResource {
  const shared = workload.networkMode === istioWorkload.NetworkMode.HOST_NETWORK;
  const { network } = workload;
  return {
    name: workload.uid,
    // Host-network workloads share their IPs with others and are never found by them.
    aliases: shared
      ? []
      : workload.addresses.map((address) => formatNetworkAddress({ network, ip: formatIp(address) })),
    follows: [...Object.keys(workload.services), ...(workload.node === "" ? [] : [nodeFollowName(workload.node)])],
    body: encodeAddress({ case: "workload", value: workload }),
  };
}

function encodeAddress(type: istioWorkload.Address["type"]): Uint8Array {
  return toBinary(istioWorkload.AddressSchema, create(istioWorkload.AddressSchema, { type }));
}

export function authorizationResources(model: AmbientModel): ServedResource[] {
  return model.authorizations.map((policy) => ({
    name: `${policy.namespace}/${policy.name}`,
    body: toBinary(istioSecurity.AuthorizationSchema, policy),
  }));
}

export function waypointResource({ record, waypoint }: WaypointResources): ServedResource {
  return { name: record.key, body: toBinary(hairpinWaypoint.WaypointSchema, waypoint) };
}

export function waypointServiceResources({ record, services }: WaypointResources): ServedResource[] {
  return [...services].map(([key, service]) => ({
    name: `${record.key}/${key}`,
    body: toBinary(hairpinWaypoint.ServiceSchema, service),
  }));
}

export function waypointWorkloadResources({ record, workloads }: WaypointResources): ServedResource[] {
  return [...workloads].map(([uid, workload]) => ({
    name: `${record.key}/${uid}`,
    body: toBinary(hairpinWaypoint.WorkloadSchema, workload),
  }));
}
