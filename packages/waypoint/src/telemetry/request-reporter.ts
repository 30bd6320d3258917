import { displayed, type Logger, ObjectNumbers, type SharedFields, sharedFields } from "@hairpin/shared/telemetry";
import { formatSocketAddress, formatSpiffeId, type Service, type Workload } from "@hairpin/shared/model";
import type { ExchangeResult } from "../exchange.ts";
import type { RequestHead } from "../request-head.ts";
import type { ManagedTarget } from "../request-context.ts";
import type { ClientConnection } from "../client-connection.ts";
import { grpcStatusLabel } from "./grpc-status.ts";
import { describeTraffic, findSourceWorkload, type DescribeOptions } from "./describe-traffic.ts";
import type { HttpSeries, TrafficMetrics } from "./traffic-metrics.ts";

/** A request that is over. */
export interface ReportedRequest {
  /** The connection that it came by; the same value for all its requests. */
  readonly connection: ClientConnection;
  readonly target: ManagedTarget | undefined;
  /** Undefined when it could not be read. */
  readonly head: RequestHead | undefined;
  readonly isGrpc: boolean;
  /** `namespace/name`. */
  readonly route: string | undefined;
  readonly result: ExchangeResult;
  readonly durationMs: number;
}

/** Requests of one connection that came to the same: their series, and the parts of their log lines. */
interface Outcome {
  readonly target: ManagedTarget | undefined;
  readonly service: Service | undefined;
  readonly route: string | undefined;
  readonly isGrpc: boolean;
  readonly flag: string;
  readonly status: number;
  readonly grpcStatus: string;
  readonly series: HttpSeries;
  /** Who called whom. */
  readonly parties: SharedFields;
  /** What the answer was, and which route and backend gave it. */
  readonly answer: SharedFields;
}

/** The last outcome by each destination. */
type Outcomes = Map<Workload | undefined, Outcome>;

/** Destinations of one connection whose outcomes are kept. */
const maxOutcomes = 64;

/** Counts and logs requests: the metrics of istio-ambient.md §11 and one line each at info, scope `access`. */
export class RequestReporter {
  readonly #metrics: TrafficMetrics;
  readonly #describe: DescribeOptions;
  readonly #accessLog: Logger;
  readonly #numbers = new ObjectNumbers();
  /** Until the mesh changes: the caller may be another workload then. */
  #outcomes = new WeakMap<ClientConnection, Outcomes>();

  constructor(components: {
    readonly metrics: TrafficMetrics;
    readonly describe: DescribeOptions;
    readonly accessLog: Logger;
  }) {
    this.#metrics = components.metrics;
    this.#describe = components.describe;
    this.#accessLog = components.accessLog;
    components.describe.mesh.onChange(() => {
      this.#outcomes = new WeakMap();
    });
  }

  finished(request: ReportedRequest): void {
    const outcome = this.#outcomeOf(request);
    outcome.series.add(request.result, request.durationMs);
    this.#log(request, outcome);
  }

  /** Found again by a few comparisons: rendering what most requests of a connection have in common would cost more than routing them. */
  #outcomeOf(request: ReportedRequest): Outcome {
    const { connection, target, route, isGrpc, result } = request;
    const { destination, flag, status, grpcStatus } = result;
    const service = result.service ?? (target?.kind === "service" ? target.service : undefined);
    let outcomes = this.#outcomes.get(connection);
    if (outcomes === undefined || outcomes.size > maxOutcomes) {
      outcomes = new Map();
      this.#outcomes.set(connection, outcomes);
    }
    const last = outcomes.get(destination);
    const isSame =
      last?.target === target &&
      last?.service === service &&
      last?.route === route &&
      last?.status === status &&
      last.flag === flag &&
      last.isGrpc === isGrpc &&
      last.grpcStatus === grpcStatus;
    if (last && isSame) return last;
    const series = this.#findSeries(request, service);
    const { parties, answer } = describeRequest(request);
    const outcome: Outcome = { target, service, route, isGrpc, flag, status, grpcStatus, series, parties, answer };
    outcomes.set(destination, outcome);
    return outcome;
  }

  #findSeries({ connection, isGrpc, result }: ReportedRequest, service: Service | undefined): HttpSeries {
    const { source } = connection;
    const client = findSourceWorkload(source, this.#describe);
    const { destination } = result;
    const protocol = isGrpc ? "grpc" : "http";
    const grpcStatus = grpcStatusLabel(isGrpc, result.grpcStatus);
    const parts = [this.#numbers.of(client), this.#numbers.of(destination), this.#numbers.of(service), protocol];
    const key = `${parts.join()},${result.flag},${result.status},${grpcStatus},${source.identity ? formatSpiffeId(source.identity) : ""}`;
    return this.#metrics.httpSeries(key, () => ({
      ...describeTraffic({ source, client, destination, service, protocol, flag: result.flag }, this.#describe),
      response_code: String(result.status),
      grpc_response_status: grpcStatus,
    }));
  }

  #log({ head, result, durationMs }: ReportedRequest, { parties, answer }: Outcome): void {
    this.#accessLog.info("request complete", {
      parties,
      method: head?.method,
      authority: head?.authority,
      path: head?.path,
      answer,
      policy: result.policy,
      rule: result.rule,
      bytes_sent: result.responseBytes,
      bytes_recv: result.requestBytes,
      duration: `${Math.floor(durationMs)}ms`,
      reason: result.reason,
    });
  }
}

function describeRequest({ connection, target, route, result }: ReportedRequest): Pick<Outcome, "parties" | "answer"> {
  const { source, address } = connection;
  const service = target?.kind === "service" ? target.service.hostname : undefined;
  const parties = sharedFields({
    "src.addr": displayed(formatSocketAddress(source)),
    "src.identity": source.identity && formatSpiffeId(source.identity),
    "dst.addr": displayed(formatSocketAddress(address)),
    "dst.service": service,
    "dst.workload": result.destination?.name,
    "dst.namespace": result.destination?.namespace,
    hairpinned: source.hairpinned ? true : undefined,
  });
  const answer = sharedFields({
    status: result.status,
    grpc_status: result.grpcStatus === "" ? undefined : result.grpcStatus,
    response_flags: result.flag,
    route,
    backend: result.service && result.service.hostname !== service ? result.service.hostname : undefined,
  });
  return { parties, answer };
}
