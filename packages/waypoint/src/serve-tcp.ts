import { relay } from "@hairpin/hbone";
import { formatNamespacedHostname, formatSpiffeId } from "@hairpin/shared/model";
import { errorMessage, type Clock } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { ByteChannel } from "@hairpin/wire";
import { endpointKey, type Endpoint } from "./forward/connect-endpoint.ts";
import { connectionFacts, drawEndpoint, podEndpoint, policySets, type PlanInput } from "./phases.ts";
import { authorizeAll, type L7Decision } from "./policy/authorize.ts";
import type { EndpointDraw, TunnelContext } from "./request-context.ts";
import { splitTraffic } from "./route/split-traffic.ts";
import { describeTraffic, type DescribeOptions } from "./telemetry/describe-traffic.ts";
import type { RequestMetrics } from "./telemetry/request-metrics.ts";

export interface TcpServerComponents {
  readonly input: PlanInput;
  readonly clock: Clock;
  readonly metrics: RequestMetrics;
  readonly describe: DescribeOptions;
  readonly accessLog: Logger;
  connect(endpoint: Endpoint): Promise<ByteChannel>;
}

/** What a connection that is not HTTP came to, before any byte flowed. */
type Refusal = { readonly reason: string; readonly policy: string | undefined; readonly rule: number | undefined };

/** The policies of a connection that is not HTTP. */
export function authorizeConnection(tunnel: TunnelContext, input: PlanInput): L7Decision {
  return authorizeAll(policySets(tunnel.target, input.config), connectionFacts(tunnel));
}

/** Relays the bytes of one tunnel to an endpoint; takes the channel over and resolves when both sides are closed. */
export async function serveTcp(
  channel: ByteChannel,
  tunnel: TunnelContext,
  components: TcpServerComponents,
): Promise<void> {
  const startedAt = components.clock.now();
  const decision = authorizeConnection(tunnel, components.input);
  if (!decision.allowed) {
    refuse(channel, tunnel, components, decision);
    return;
  }
  const draw = chooseTcpEndpoint(tunnel, components.input);
  if (draw.kind === "respond") {
    refuse(channel, tunnel, components, { reason: draw.response.reason, policy: draw.policy, rule: draw.rule });
    return;
  }
  let upstream: ByteChannel;
  try {
    upstream = await components.connect(draw.endpoint);
  } catch (error) {
    refuse(channel, tunnel, components, {
      reason: `no connection to ${endpointKey(draw.endpoint)}: ${errorMessage(error)}`,
      policy: undefined,
      rule: undefined,
    });
    return;
  }
  const service = tunnel.target.kind === "service" ? tunnel.target.service : undefined;
  const labels = describeTraffic(
    { source: tunnel.source, destination: draw.endpoint.workload, service, protocol: "tcp", flag: "-" },
    components.describe,
  );
  const handles = components.metrics.connectionOpened(labels);
  const result = await relay(channel, upstream);
  handles.addBytes(result.bytesReceived, result.bytesSent);
  handles.close();
  components.accessLog.info("connection complete", {
    ...describeTunnel(tunnel),
    "dst.workload": draw.endpoint.workload.name,
    bytes_sent: result.bytesSent,
    bytes_recv: result.bytesReceived,
    duration: `${Math.round(components.clock.now() - startedAt)}ms`,
    error: result.error && errorMessage(result.error),
  });
}

/** By TCP route where there is one, else an endpoint of the service, or the pod. */
function chooseTcpEndpoint(tunnel: TunnelContext, input: PlanInput): EndpointDraw {
  if (tunnel.target.kind === "workload") return podEndpoint(tunnel, tunnel.target, input);
  const { service, port, managed } = tunnel.target;
  const [route] = port.tcpRoutes;
  if (!route) return drawEndpoint({ service, port: port.port, only: managed.onlyWorkloads }, new Set(), tunnel, input);
  const backend = splitTraffic(route.rules[0]?.backends ?? [], input.random);
  const name = `${route.namespace}/${route.name}`;
  const chosen =
    backend && backend.invalidReason === "" ? input.mesh.findService(formatNamespacedHostname(backend)) : undefined;
  if (!backend || !chosen) {
    const reason = `TCP route ${name}: ${backend?.invalidReason || "no usable backend"}`;
    return {
      kind: "respond",
      response: { status: 0, headers: [], body: "", flag: "NR", reason },
      policy: undefined,
      rule: undefined,
    };
  }
  return drawEndpoint({ service: chosen, port: backend.port, only: undefined }, new Set(), tunnel, input);
}

function refuse(channel: ByteChannel, tunnel: TunnelContext, components: TcpServerComponents, refusal: Refusal): void {
  components.accessLog.error("connection complete", {
    ...describeTunnel(tunnel),
    bytes_sent: 0,
    bytes_recv: 0,
    error: refusal.reason,
    policy: refusal.policy,
    rule: refusal.rule,
  });
  channel.setHandler({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
  channel.destroy(new Error(refusal.reason));
}

function describeTunnel({ source, target }: TunnelContext): Record<string, unknown> {
  return {
    "src.addr": `${source.ip}:${source.port}`,
    "src.identity": source.identity && formatSpiffeId(source.identity),
    "dst.addr": `${target.address.ip}:${target.address.port}`,
    "dst.service": target.kind === "service" ? target.service.hostname : undefined,
    hairpinned: source.hairpinned ? true : undefined,
  };
}
