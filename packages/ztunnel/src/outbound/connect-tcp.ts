import type { SocketAddress } from "@hairpin/shared/model";
import { type ByteChannel, createSocketChannel } from "@hairpin/wire";
import type { PodContext } from "../pod-context.ts";
import { connectFailed } from "../response-flag.ts";

/** Plain TCP to an uncaptured destination, from inside the pod's netns. Rejects with `CONNECT_FAILED` or `CONNECT_TIMEOUT`. */
export async function connectTcpDestination(
  pod: PodContext,
  destination: SocketAddress,
  timeoutMs: number,
): Promise<ByteChannel> {
  try {
    return createSocketChannel(await pod.network.connect(destination, { timeoutMs }));
  } catch (error) {
    throw connectFailed(destination, error);
  }
}
