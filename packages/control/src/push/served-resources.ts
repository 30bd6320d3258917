// Messages of the model as resources with names, aliases and bytes.

import { create, toBinary } from "@bufbuild/protobuf";
import { hairpinWaypoint, istioSecurity, istioWorkload } from "@hairpin/shared/api";
import { formatIp, formatNetworkAddress } from "@hairpin/shared/model";
import type { ServedResource } from "@hairpin/shared/xds";
import type { AmbientModel } from "../ambient/ambient-model.ts";
import { Memo } from "../collection/memo.ts";
import { type Sliced, stopEvery } from "../collection/sliced.ts";
import type { WaypointResources } from "../gateway/waypoint-resources.ts";
import { nodeFollowName } from "./client-role.ts";

/** A waypoint's resources, by type. */
export interface ServedWaypoint {
  readonly waypoint: readonly ServedResource[];
  readonly services: readonly ServedResource[];
  readonly workloads: readonly ServedResource[];
}

/** Encodes what a model says. The same message is the same resource. */
export class ResourceEncoder {
  readonly #encoded = new Memo<object, ServedResource>();

  *addresses(model: AmbientModel): Sliced<ServedResource[]> {
    const services = yield* this.#each(model.serviceMessages, [], serviceResource);
    const workloads = yield* this.#each(model.workloadMessages, [], workloadResource);
    return [...services, ...workloads];
  }

  authorizations(model: AmbientModel): Sliced<ServedResource[]> {
    return this.#each(model.authorizations, [], (policy) => ({
      name: `${policy.namespace}/${policy.name}`,
      body: toBinary(istioSecurity.AuthorizationSchema, policy),
    }));
  }

  *waypoint({ record: { key }, ...resources }: WaypointResources): Sliced<ServedWaypoint> {
    const { WaypointSchema, ServiceSchema, WorkloadSchema } = hairpinWaypoint;
    return {
      waypoint: [{ name: key, body: toBinary(WaypointSchema, resources.waypoint) }],
      services: yield* this.#each(resources.services.values(), [key], (service) => ({
        name: `${key}/${service.namespace}/${service.hostname}`,
        body: toBinary(ServiceSchema, service),
      })),
      workloads: yield* this.#each(resources.workloads.values(), [key], (workload) => ({
        name: `${key}/${workload.uid}`,
        body: toBinary(WorkloadSchema, workload),
      })),
    };
  }

  *#each<T extends object>(
    messages: Iterable<T>,
    inputs: readonly unknown[],
    encode: (message: T) => ServedResource,
  ): Sliced<ServedResource[]> {
    const resources: ServedResource[] = [];
    for (const message of messages) {
      if (resources.length % stopEvery === 0) yield;
      resources.push(this.#encoded.get(message, inputs, () => encode(message)));
    }
    return resources;
  }
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
