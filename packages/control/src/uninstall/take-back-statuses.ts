// A condition that says Programmed of a waypoint that is gone would be believed by the next installation, and by users.

import { errorMessage } from "@hairpin/shared/process";
import { statusManager as deployerManager } from "../deploy/waypoint-deployer.ts";
import { createKubernetesStatusSink, statusFieldManager as controlManager } from "../status/kubernetes-status-sink.ts";
import type { UninstallComponents } from "./uninstall.ts";
import { isWrittenBy, type WrittenObject } from "./written-by.ts";

const gatewayApi = "gateway.networking.k8s.io";

/** Whatever control tells something about. */
const kindsTold = [
  { group: gatewayApi, kind: "Gateway" },
  ...["HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"].map((kind) => ({ group: gatewayApi, kind })),
  { group: "security.istio.io", kind: "AuthorizationPolicy" },
  { group: "security.istio.io", kind: "PeerAuthentication" },
  { group: "networking.istio.io", kind: "ServiceEntry" },
  { group: "networking.istio.io", kind: "WorkloadEntry" },
  { group: "", kind: "Service" },
  { group: "", kind: "Pod" },
];

/** Takes back every condition and address that control wrote; those of others stay. One that cannot be changed is told of. */
export async function takeBackStatuses({ api, clock, say }: UninstallComponents): Promise<void> {
  let count = 0;
  for (const { group, kind } of kindsTold) {
    const served = await api.findServed(group, kind);
    if (served === undefined) continue;
    const { items } = await api.list<WrittenObject>(served);
    for (const manager of [controlManager, deployerManager]) {
      const sink = createKubernetesStatusSink({ api, clock }, { fieldManager: manager });
      for (const object of items.filter((one) => isWrittenBy(one, manager, "status"))) {
        const { namespace, name } = object.metadata;
        const path = { ...served, name, ...(namespace === undefined ? {} : { namespace }) };
        const merge = kind.endsWith("Route") ? { merge: { parents: [] } } : {};
        try {
          await sink.write({ ...path, manager, conditions: [], ...merge });
          count += 1;
        } catch (error) {
          say(`${kind} ${namespace ?? ""}/${name} keeps its status: ${errorMessage(error)}`);
        }
      }
    }
  }
  say(`statuses taken back: ${count}`);
}
