import { relay, type RelayCounters } from "@hairpin/hbone";
import { formatNamespacedHostname, formatSocketAddress, formatSpiffeId, type Service } from "@hairpin/shared/model";
import { errorMessage, type Clock } from "@hairpin/shared/process";
import { displayed, type Logger } from "@hairpin/shared/telemetry";
import type { ByteChannel } from "@hairpin/wire";
import { responseFlag } from "./error-response.ts";
import { endpointKey, type Endpoint } from "./forward/connect-endpoint.ts";
import { connectionFacts, drawEndpoint, podEndpoint, policySets, refusedByEndpoint, type PlanInput } from "./phases.ts";
import { authorizeAll } from "./policy/authorize.ts";
import type { EndpointDraw, TunnelContext } from "./request-context.ts";
import { splitTraffic } from "./route/split-traffic.ts";
import { describeTraffic, findSourceWorkload, type DescribeOptions } from "./telemetry/describe-traffic.ts";
import type { TrafficMetrics } from "./telemetry/traffic-metrics.ts";
import { resolveTarget, type TargetResolver } from "./terminate/resolve-target.ts";

export interface ByteConnectionsComponents {
  readonly input: PlanInput;
  readonly resolver: TargetResolver;
  readonly clock: Clock;
  readonly metrics: TrafficMetrics;
  readonly describe: DescribeOptions;
  readonly accessLog: Logger;
  connect(endpoint: Endpoint): Promise<ByteChannel>;
}

/** Why a connection that is not HTTP goes no further. */
interface Refusal {
  readonly reason: string;
  readonly policy: string | undefined;
  readonly rule: number | undefined;
  /** Undefined: refused by policy. */
  readonly flag: string | undefined;
}

interface OpenConnection {
  readonly tunnel: TunnelContext;
  readonly endpoint: Endpoint;
  readonly channel: ByteChannel;
  /** Why it was cut, once it was. */
  cut: Refusal | undefined;
}

/** Endpoints tried for one connection: nothing was sent to those that could not be reached. */
const maxAttempts = 3;
/** Changes within this time lead to one look at the open connections. */
const recheckDelayMs = 10;
/** Connections looked at in one turn of the event loop. */
const recheckSlice = 500;

/** Connections that are not HTTP: authorised when they open, and again whenever policies or configuration change. */
export class ByteConnections {
  readonly #components: ByteConnectionsComponents;
  readonly #open = new Set<OpenConnection>();
  #recheckDue = false;

  constructor(components: ByteConnectionsComponents) {
    this.#components = components;
    const { config, mesh } = components.resolver;
    config.onChange(() => this.#recheckSoon());
    mesh.onChange(({ policies, inboundRules, removedWorkloads }) => {
      if (policies.size + inboundRules.size + removedWorkloads.size > 0) this.#recheckSoon();
    });
  }

  /** Relays the bytes of one tunnel to an endpoint; takes the channel over and resolves when both sides are closed. */
  async serve(channel: ByteChannel, tunnel: TunnelContext): Promise<void> {
    const { clock, metrics, accessLog } = this.#components;
    const startedAt = clock.now();
    const found = this.#authorize(tunnel) ?? (await this.#connect(tunnel));
    if ("reason" in found) {
      this.#refuse(channel, tunnel, found);
      return;
    }
    const { endpoint, upstream } = found;
    const counters: RelayCounters = { bytesReceived: 0, bytesSent: 0 };
    const observed = metrics.connectionOpened(this.#labels(tunnel, endpoint, responseFlag.none), counters);
    const open: OpenConnection = { tunnel, endpoint, channel, cut: undefined };
    this.#open.add(open);
    // What changed while the endpoint was being connected.
    this.#recheck(open);
    const result = await relay(channel, upstream, counters);
    this.#open.delete(open);
    observed.close();
    const error = open.cut?.reason ?? (result.error && errorMessage(result.error));
    const fields = {
      ...describeTunnel(tunnel),
      "dst.workload": endpoint.workload.name,
      "dst.namespace": endpoint.workload.namespace,
      bytes_sent: result.bytesSent,
      bytes_recv: result.bytesReceived,
      duration: `${Math.floor(clock.now() - startedAt)}ms`,
      policy: open.cut?.policy,
      rule: open.cut?.rule,
      error,
    };
    if (error === undefined) accessLog.info("connection complete", fields);
    else accessLog.error("connection complete", fields);
  }

  #authorize(tunnel: TunnelContext): Refusal | undefined {
    const { input } = this.#components;
    const decision = authorizeAll(policySets(tunnel.target, input.config), connectionFacts(tunnel));
    return decision.allowed ? undefined : { ...decision, flag: undefined };
  }

  async #connect(tunnel: TunnelContext): Promise<{ endpoint: Endpoint; upstream: ByteChannel } | Refusal> {
    const tried = new Set<string>();
    for (let attempt = 1; ; attempt++) {
      const draw = chooseTcpEndpoint(tunnel, tried, this.#components.input);
      if (draw.kind === "respond") {
        const { response, policy, rule } = draw;
        const flag = response.flag === responseFlag.none ? undefined : response.flag;
        return { reason: response.reason, policy, rule, flag };
      }
      const { endpoint } = draw;
      tried.add(endpoint.workload.uid);
      try {
        return { endpoint, upstream: await this.#components.connect(endpoint) };
      } catch (error) {
        const reason = `no connection to ${endpointKey(endpoint)}: ${errorMessage(error)}`;
        if (attempt === maxAttempts)
          return { reason, policy: undefined, rule: undefined, flag: responseFlag.upstreamConnectFailure };
      }
    }
  }

  #refuse(channel: ByteChannel, tunnel: TunnelContext, { reason, policy, rule, flag }: Refusal): void {
    const { metrics, accessLog } = this.#components;
    if (flag === undefined) metrics.tunnelRefused("denied");
    else metrics.connectionFailed(this.#labels(tunnel, undefined, flag));
    accessLog.error("connection complete", {
      ...describeTunnel(tunnel),
      bytes_sent: 0,
      bytes_recv: 0,
      error: reason,
      policy,
      rule,
    });
    channel.setHandler({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
    channel.destroy(new Error(reason));
  }

  #labels(tunnel: TunnelContext, endpoint: Endpoint | undefined, flag: string): ReturnType<typeof describeTraffic> {
    const { describe } = this.#components;
    const { source, target } = tunnel;
    const service = endpoint?.service ?? (target.kind === "service" ? target.service : undefined);
    const client = findSourceWorkload(source, describe);
    return describeTraffic(
      { source, client, destination: endpoint?.workload, service, protocol: "tcp", flag },
      describe,
    );
  }

  #recheckSoon(): void {
    if (this.#recheckDue || this.#open.size === 0) return;
    this.#recheckDue = true;
    const all = (): void => {
      this.#recheckDue = false;
      this.#recheckNext([...this.#open]);
    };
    this.#components.clock.setTimer(recheckDelayMs, all, { background: true });
  }

  #recheckNext(connections: OpenConnection[]): void {
    for (const connection of connections.splice(0, recheckSlice)) this.#recheck(connection);
    if (connections.length > 0)
      this.#components.clock.setTimer(0, () => this.#recheckNext(connections), { background: true });
  }

  /** Cuts a connection that would be refused now. */
  #recheck(open: OpenConnection): void {
    if (open.cut || !this.#open.has(open)) return;
    open.cut = this.#objection(open);
    if (open.cut) open.channel.destroy(new Error(open.cut.reason));
  }

  #objection({ tunnel, endpoint }: OpenConnection): Refusal | undefined {
    const { resolver, input } = this.#components;
    const target = resolveTarget(tunnel.target.address, resolver);
    if (target.kind === "refused")
      return { reason: target.reason, policy: undefined, rule: undefined, flag: undefined };
    const current = { target, source: tunnel.source };
    const refusal = this.#authorize(current);
    if (refusal) return refusal;
    const workload = resolver.mesh.findWorkloadByUid(endpoint.workload.uid);
    if (!workload) return { reason: "the endpoint was removed", policy: undefined, rule: undefined, flag: undefined };
    const denied = refusedByEndpoint({ ...endpoint, workload }, current, connectionFacts(current), input);
    return denied && { reason: denied.response.reason, policy: denied.policy, rule: denied.rule, flag: undefined };
  }
}

/** By TCP route where there is one, else an endpoint of the service, or the pod. */
function chooseTcpEndpoint(tunnel: TunnelContext, tried: ReadonlySet<string>, input: PlanInput): EndpointDraw {
  if (tunnel.target.kind === "workload") return podEndpoint(tunnel, tunnel.target, input);
  const { service, port, managed } = tunnel.target;
  const context = { tunnel, facts: connectionFacts(tunnel) };
  const namespace = tunnel.source.identity?.namespace;
  // Consumer routes hide the producer's from the clients of their namespace (GEP-1324).
  const route =
    port.tcpRoutes.find(({ onlyFromNamespace }) => onlyFromNamespace !== "" && onlyFromNamespace === namespace) ??
    port.tcpRoutes.find(({ onlyFromNamespace }) => onlyFromNamespace === "");
  if (!route) return drawEndpoint({ service, port: port.port, only: managed.onlyWorkloads }, tried, context, input);
  const backend = splitTraffic(route.rules[0]?.backends ?? [], input.random);
  const chosen =
    backend && backend.invalidReason === "" ? input.mesh.findService(formatNamespacedHostname(backend)) : undefined;
  if (!backend || !chosen) {
    const reason = `TCP route ${route.namespace}/${route.name}: ${backend?.invalidReason || "no usable backend"}`;
    const response = { status: 0, headers: [], body: "", flag: responseFlag.noRoute, reason };
    return { kind: "respond", response, policy: undefined, rule: undefined };
  }
  const only = isSameService(chosen, service) ? managed.onlyWorkloads : undefined;
  return drawEndpoint({ service: chosen, port: backend.port, only }, tried, context, input);
}

function isSameService(a: Service, b: Service): boolean {
  return a.namespace === b.namespace && a.hostname === b.hostname;
}

function describeTunnel({ source, target }: TunnelContext): Record<string, unknown> {
  return {
    "src.addr": displayed(formatSocketAddress(source)),
    "src.identity": source.identity && formatSpiffeId(source.identity),
    "dst.addr": displayed(formatSocketAddress(target.address)),
    "dst.service": target.kind === "service" ? target.service.hostname : undefined,
    hairpinned: source.hairpinned ? true : undefined,
  };
}
