import type { Socket } from "node:net";
import { relay } from "@hairpin/hbone";
import type { SocketAddress, Workload } from "@hairpin/shared/model";
import { type ByteChannel, createSocketChannel } from "@hairpin/wire";
import { type DataPath, type PodContext, remoteAddress } from "../pod-context.ts";
import { ZtunnelError } from "../response-flag.ts";
import type { ConnectionDescription } from "../telemetry/connection-description.ts";
import { connectHbone } from "./connect-hbone.ts";
import { connectTcpDestination } from "./connect-tcp.ts";
import {
  completeResolvedPlan,
  type HbonePlan,
  type OutboundPlan,
  planOutbound,
  type RejectPlan,
  type TcpPlan,
} from "./plan-connection.ts";

/** One captured connection of the pod's application, from the accept to its end. Owns the socket; rejects only for faults of our own. */
export async function serveOutbound(socket: Socket, pod: PodContext, path: DataPath): Promise<void> {
  const openedAt = path.clock.now();
  const downstream = remoteAddress(socket);
  if (!downstream) {
    socket.destroy();
    return;
  }
  const destination = pod.network.originalDestination(socket);
  const source = await path.mesh.fetchWorkloadByPod(pod.info, path.options.sourceWaitMs);
  if (!source) {
    const text = `failed to fetch information about local workload ${pod.info.namespace}/${pod.info.name}`;
    path.telemetry.failEarly("outbound", { source: downstream, destination }, text);
    socket.resetAndDestroy();
    return;
  }
  const plan = await settlePlan(planOutbound(outboundInput(source, downstream, destination, path), path.mesh), path);
  const description = describe({ source, downstream, destination, plan });
  const observed = path.telemetry.open(description, openedAt);
  const call = { source, downstream, destination };
  let upstream: ByteChannel;
  try {
    upstream = await connect(plan, call, pod, path);
  } catch (error) {
    socket.resetAndDestroy();
    observed.close({ error });
    return;
  }
  if (pod.signal.aborted) {
    socket.resetAndDestroy();
    upstream.destroy();
    observed.close({ error: pod.signal.reason });
    return;
  }
  let closeError: Error | undefined;
  const channel = createSocketChannel(socket);
  const untrack = path.table.trackOutbound({
    podUid: pod.uid,
    source: downstream,
    originalDestination: destination,
    actualDestination: description.destinationAddress,
    protocol: plan.kind === "hbone" ? "HBONE" : "TCP",
    close: (error) => {
      closeError ??= error;
      channel.destroy(error);
      upstream.destroy(error);
    },
  });
  const result = await relay(channel, upstream, observed.counters);
  untrack();
  observed.close({ error: closeError ?? result.error });
}

type SettledPlan = HbonePlan | TcpPlan | RejectPlan;

function outboundInput(source: Workload, downstream: SocketAddress, destination: SocketAddress, path: DataPath) {
  const { network, illegalPorts } = path.options;
  return { source, sourceIp: downstream.ip, destination, network, illegalPorts, random: Math.random };
}

/** Finds the address of an endpoint known by name. A name that does not resolve rejects the connection. */
async function settlePlan(plan: OutboundPlan, path: DataPath): Promise<SettledPlan> {
  if (plan.kind !== "resolve") return plan;
  try {
    return completeResolvedPlan(plan, await path.resolveHostname(plan.hostname));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const reason = `no healthy upstream: ${plan.hostname}:${plan.port} (${why})`;
    return { kind: "reject", reason, workload: plan.workload, service: plan.service };
  }
}

async function connect(
  plan: SettledPlan,
  call: { readonly source: Workload; readonly downstream: SocketAddress },
  pod: PodContext,
  path: DataPath,
): Promise<ByteChannel> {
  switch (plan.kind) {
    case "hbone":
      return await connectHbone(pod, { ...call, plan });
    case "tcp":
      return await connectTcpDestination(pod, plan.address, path.options.connectTimeoutMs);
    case "reject":
      throw new ZtunnelError(plan.reason, { code: "OUTBOUND_REJECTED", origin: "upstream" });
    default:
      throw new Error(`Unknown outbound plan ${JSON.stringify(plan satisfies never)}`);
  }
}

function describe(call: {
  readonly source: Workload;
  readonly downstream: SocketAddress;
  readonly destination: SocketAddress;
  readonly plan: SettledPlan;
}): ConnectionDescription {
  const { source, plan } = call;
  const tunnelled = plan.kind === "hbone";
  return {
    direction: "outbound",
    sourceAddress: call.downstream,
    source,
    sourceIdentity: tunnelled ? source : undefined,
    destinationAddress: plan.kind === "reject" ? call.destination : plan.address,
    hboneAddress: tunnelled ? plan.authority : undefined,
    destination: plan.workload,
    service: plan.service,
    mutualTls: tunnelled,
  };
}
