import type { Socket } from "node:net";
import { formatSocketAddress, type SocketAddress } from "@hairpin/shared/model";
import { createSocketChannel } from "@hairpin/wire";
import { type DataPath, type PodContext, remoteAddress } from "../pod-context.ts";
import type { RefusePlan } from "./plan-connection.ts";
import type { InboundTarget } from "./resolve-target.ts";
import { serveInbound } from "./serve-connection.ts";

/**
 * One plaintext connection to a pod, redirected to port 15006: the same decisions as for a tunnel, with no identity.
 * A refused one is closed without a byte. Owns the socket; rejects only for faults of our own.
 */
export async function servePassthrough(socket: Socket, pod: PodContext, path: DataPath): Promise<void> {
  const source = remoteAddress(socket);
  if (!source) {
    socket.destroy();
    return;
  }
  const destination = pod.network.originalDestination(socket);
  await serveInbound(
    {
      openedAt: path.clock.now(),
      source,
      local: destination,
      peerIdentity: undefined,
      hboneAddress: undefined,
      claimedHost: undefined,
      hairpinFor: [],
      get closed() {
        return socket.destroyed;
      },
      resolve: () => passthroughTarget(destination, path.options.illegalPorts),
      accept: () => createSocketChannel(socket),
      refuse: () => socket.destroy(),
    },
    pod,
    path,
  );
}

/** Where the connection was going, unless that is one of our own ports: it would come back to us. */
function passthroughTarget(address: SocketAddress, illegalPorts: ReadonlySet<number>): InboundTarget | RefusePlan {
  if (illegalPorts.has(address.port)) {
    const reason = `attempted recursive call to ${formatSocketAddress(address)}`;
    return { kind: "refuse", status: 503, reason, flag: "CONNECT" };
  }
  return { kind: "found", address, service: undefined, proxyDestination: undefined };
}
