import type { IpAddress, SocketAddress } from "@hairpin/shared/model";
import { type ByteChannel, createSocketChannel } from "@hairpin/wire";
import type { PodContext } from "../pod-context.ts";
import { connectFailed } from "../response-flag.ts";

/**
 * Connects to the application inside its pod, from the caller's address where the kernel lets us: the application then
 * sees its real caller. A pod that calls itself is dialled plainly. Rejects with `CONNECT_FAILED` or `CONNECT_TIMEOUT`.
 */
export async function connectApplication(
  pod: PodContext,
  address: SocketAddress,
  sourceIp: IpAddress,
  timeoutMs: number,
): Promise<ByteChannel> {
  const spoof = pod.network.canSpoofSource && sourceIp !== address.ip && isSameFamily(sourceIp, address.ip);
  const spoofedSource = spoof ? sourceIp : undefined;
  try {
    return createSocketChannel(await pod.network.connect(address, { timeoutMs, spoofedSource }));
  } catch (error) {
    throw connectFailed(address, error);
  }
}

function isSameFamily(a: IpAddress, b: IpAddress): boolean {
  return a.includes(":") === b.includes(":");
}
