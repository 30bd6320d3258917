import type { Identity, IpAddress, SocketAddress } from "@hairpin/shared/model";
import { type ByteChannel, createSocketChannel } from "@hairpin/wire";
import type { PodContext } from "../pod-context.ts";
import { connectFailed } from "../response-flag.ts";
import { proxyHeader } from "./proxy-header.ts";
import type { InboundTarget } from "./resolve-target.ts";

export interface ApplicationCaller {
  readonly address: SocketAddress;
  readonly identity: Identity | undefined;
}

/**
 * Connects to the application inside its pod, from the caller's address where the kernel lets us: the application then
 * sees its real caller. A pod that calls itself is dialled plainly. An application tunnel is dialled on loopback and told
 * of the caller by a PROXY header. Rejects with `CONNECT_FAILED` or `CONNECT_TIMEOUT`.
 */
export async function connectApplication(
  pod: PodContext,
  target: InboundTarget,
  caller: ApplicationCaller,
  timeoutMs: number,
): Promise<ByteChannel> {
  const { proxyDestination } = target;
  const address = proxyDestination ? onLoopback(target.address) : target.address;
  try {
    const socket = await pod.network.connect(address, {
      timeoutMs,
      spoofedSource: proxyDestination ? undefined : spoofableSource(pod, address.ip, caller.address.ip),
    });
    const channel = createSocketChannel(socket);
    const source = caller.address;
    const { identity } = caller;
    if (proxyDestination) channel.write(proxyHeader({ source, destination: proxyDestination, identity }));
    return channel;
  } catch (error) {
    throw connectFailed(address, error);
  }
}

function spoofableSource(pod: PodContext, destination: IpAddress, source: IpAddress): IpAddress | undefined {
  const sameFamily = source.includes(":") === destination.includes(":");
  return pod.network.canSpoofSource && source !== destination && sameFamily ? source : undefined;
}

function onLoopback({ ip, port }: SocketAddress): SocketAddress {
  return { ip: ip.includes(":") ? "::1" : "127.0.0.1", port };
}
