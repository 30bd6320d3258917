import { displayed, type Logger } from "@hairpin/shared/telemetry";
import { formatSocketAddress, formatSpiffeId, type SocketAddress } from "@hairpin/shared/model";
import type { ExchangeResult } from "../exchange.ts";
import type { RequestHead } from "../request-head.ts";
import type { ManagedTarget } from "../request-context.ts";
import type { Source } from "../terminate/read-source.ts";
import { grpcStatusLabel } from "./grpc-status.ts";
import { describeTraffic, findSourceWorkload, type DescribeOptions } from "./describe-traffic.ts";
import type { TrafficMetrics } from "./traffic-metrics.ts";

/** A request that is over. */
export interface ReportedRequest {
  readonly source: Source;
  /** What the client addressed. */
  readonly address: SocketAddress;
  readonly target: ManagedTarget | undefined;
  /** Undefined when it could not be read. */
  readonly head: RequestHead | undefined;
  readonly isGrpc: boolean;
  /** `namespace/name`. */
  readonly route: string | undefined;
  readonly result: ExchangeResult;
  readonly durationMs: number;
}

/** Counts and logs requests: the metrics of istio-ambient.md §11 and one line each at info, scope `access`. */
export class RequestReporter {
  readonly #metrics: TrafficMetrics;
  readonly #describe: DescribeOptions;
  readonly #accessLog: Logger;
  readonly #numbers = new WeakMap<object, number>();
  #lastNumber = 0;

  constructor(components: {
    readonly metrics: TrafficMetrics;
    readonly describe: DescribeOptions;
    readonly accessLog: Logger;
  }) {
    this.#metrics = components.metrics;
    this.#describe = components.describe;
    this.#accessLog = components.accessLog;
  }

  finished(request: ReportedRequest): void {
    this.#count(request);
    this.#log(request);
  }

  #count({ source, target, isGrpc, result, durationMs }: ReportedRequest): void {
    const client = findSourceWorkload(source, this.#describe);
    const { destination } = result;
    const service = result.service ?? (target?.kind === "service" ? target.service : undefined);
    const protocol = isGrpc ? "grpc" : "http";
    const grpcStatus = grpcStatusLabel(isGrpc, result.grpcStatus);
    const parts = [this.#number(client), this.#number(destination), this.#number(service), protocol];
    const key = `${parts.join()},${result.flag},${result.status},${grpcStatus},${source.identity ? formatSpiffeId(source.identity) : ""}`;
    const labels = () => ({
      ...describeTraffic({ source, client, destination, service, protocol, flag: result.flag }, this.#describe),
      response_code: String(result.status),
      grpc_response_status: grpcStatus,
    });
    this.#metrics.requestFinished(key, labels, { ...result, durationMs });
  }

  /** A short name for a value of the mesh; a changed workload is another value, with labels of its own. */
  #number(value: object | undefined): number {
    if (value === undefined) return 0;
    let number = this.#numbers.get(value);
    if (number === undefined) {
      number = ++this.#lastNumber;
      this.#numbers.set(value, number);
    }
    return number;
  }

  #log({ source, address, target, head, route, result, durationMs }: ReportedRequest): void {
    const service = target?.kind === "service" ? target.service.hostname : undefined;
    this.#accessLog.info("request complete", {
      "src.addr": displayed(formatSocketAddress(source)),
      "src.identity": source.identity && formatSpiffeId(source.identity),
      "dst.addr": displayed(formatSocketAddress(address)),
      "dst.service": service,
      "dst.workload": result.destination?.name,
      "dst.namespace": result.destination?.namespace,
      hairpinned: source.hairpinned ? true : undefined,
      method: head?.method,
      authority: head?.authority,
      path: head?.path,
      status: result.status,
      grpc_status: result.grpcStatus === "" ? undefined : result.grpcStatus,
      response_flags: result.flag,
      route,
      backend: result.service && result.service.hostname !== service ? result.service.hostname : undefined,
      policy: result.policy,
      rule: result.rule,
      bytes_sent: result.responseBytes,
      bytes_recv: result.requestBytes,
      duration: `${Math.floor(durationMs)}ms`,
      reason: result.reason,
    });
  }
}
