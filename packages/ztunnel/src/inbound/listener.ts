import type { Socket } from "node:net";
import {
  acceptTunnelSession,
  connectHeader,
  type InboundConnect,
  type InboundTunnelSession,
  parseConnectAuthority,
  parseForwarded,
} from "@hairpin/hbone";
import type { SocketAddress } from "@hairpin/shared/model";
import { errorMessage } from "@hairpin/shared/process";
import { workloadBaggage } from "../outbound/connect-hbone.ts";
import { type DataPath, localAddress, type PodContext, remoteAddress } from "../pod-context.ts";
import type { InboundAttempt } from "./serve-connection.ts";
import { serveInbound } from "./serve-connection.ts";
import { resolveInboundTarget } from "./resolve-target.ts";

/**
 * One connection to port 15008 of a pod: mTLS with the pod's certificate (known by the netns that the socket is in, never
 * by SNI), then its CONNECTs, until the session ends. Owns the socket; rejects only for faults of our own.
 */
export async function serveInboundSession(
  socket: Socket,
  pod: PodContext,
  path: DataPath,
  onSession: (session: InboundTunnelSession) => void,
): Promise<void> {
  const source = remoteAddress(socket);
  const local = localAddress(socket);
  if (!source || !local) {
    socket.destroy();
    return;
  }
  const fail = (reason: string): void => path.telemetry.failEarly("inbound", { source, destination: local }, reason);
  const { mesh, options, sessionMetrics } = path;
  const workload = await mesh.fetchWorkloadByPod(pod.info, options.workloadWaitMs);
  if (!workload || pod.signal.aborted) {
    socket.destroy();
    if (!workload) fail(`failed to fetch information about local workload ${pod.info.namespace}/${pod.info.name}`);
    return;
  }
  try {
    const { trustDomain, namespace, serviceAccount } = workload;
    const context = await path.contextFor({ trustDomain, namespace, serviceAccount });
    const onConnect = (request: InboundConnect): void => {
      serveConnect(request, { source, local }, pod, path).catch((error: unknown) => {
        path.logger.error("inbound tunnel failed", { error });
        refuseUnanswered(request);
      });
    };
    const accept = { socket, context, trustDomain, onConnect };
    const session = await acceptTunnelSession({ ...path, metrics: sessionMetrics }, options.listener, accept);
    onSession(session);
    await session.whenClosed;
  } catch (error) {
    // Harmless when the handshake has destroyed it already.
    socket.destroy();
    fail(errorMessage(error));
  }
}

/** Checks a CONNECT in ztunnel's order (ztunnel.md §3.2) and serves it. */
async function serveConnect(
  request: InboundConnect,
  addresses: { readonly source: SocketAddress; readonly local: SocketAddress },
  pod: PodContext,
  path: DataPath,
): Promise<void> {
  const { source, local } = addresses;
  const refuse = (reason: string): void => {
    request.refuse(400);
    path.telemetry.failEarly("inbound", { source, destination: local }, reason);
  };
  if (request.method !== "CONNECT") return refuse(`method ${request.method} is not CONNECT`);
  const authority = parseConnectAuthority(request.authority);
  if (!authority) return refuse(`authority ${JSON.stringify(request.authority)} is not ip:port or host:port`);
  const { network, illegalPorts, responseBaggage } = path.options;
  const attempt: InboundAttempt = {
    openedAt: path.clock.now(),
    source,
    local,
    peerIdentity: request.peerIdentity,
    hboneAddress: request.authority,
    claimedHost: claimedHost(request),
    hairpinFor: valuesOf(request, connectHeader.hairpinFor),
    get closed() {
      return request.closed;
    },
    resolve: (workload) =>
      resolveInboundTarget({ local: workload, localIp: local.ip, authority, network, illegalPorts }, path.mesh),
    accept: (workload) =>
      request.accept(responseBaggage ? [{ name: connectHeader.baggage, value: workloadBaggage(workload) }] : []),
    refuse: (status) => request.refuse(status),
  };
  await serveInbound(attempt, pod, path);
}

/** After a fault of ours, whether or not the request was answered. */
function refuseUnanswered(request: InboundConnect): void {
  try {
    request.refuse(503);
  } catch {
    // It was answered: the tunnel ends with its session.
  }
}

/** `host=` of `forwarded`: which service the caller addressed. For labels only. */
function claimedHost(request: InboundConnect): string | undefined {
  const [line] = valuesOf(request, connectHeader.forwarded);
  return line === undefined ? undefined : parseForwarded(line)?.host;
}

function valuesOf(request: InboundConnect, name: string): string[] {
  return request.headers.filter((field) => field.name === name).map((field) => field.value);
}
