import { displayed, type Displayed, type Logger, ObjectNumbers } from "@hairpin/shared/telemetry";
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

/** What the lines of one connection have in common. */
interface ConnectionFields {
  readonly "src.addr": Displayed;
  readonly "src.identity": string | undefined;
  readonly "dst.addr": Displayed;
}

/** The series of the request before on the same connection: most are counted alike. */
interface LastSeries {
  readonly destination: Workload | undefined;
  readonly service: Service | undefined;
  readonly isGrpc: boolean;
  readonly flag: string;
  readonly status: number;
  readonly grpcStatus: string;
  readonly series: HttpSeries;
}

/** Counts and logs requests: the metrics of istio-ambient.md §11 and one line each at info, scope `access`. */
export class RequestReporter {
  readonly #metrics: TrafficMetrics;
  readonly #describe: DescribeOptions;
  readonly #accessLog: Logger;
  readonly #numbers = new ObjectNumbers();
  readonly #fields = new WeakMap<ClientConnection, ConnectionFields>();
  /** Until the mesh changes: the caller may be another workload then. */
  #lastSeries = new WeakMap<ClientConnection, LastSeries>();

  constructor(components: {
    readonly metrics: TrafficMetrics;
    readonly describe: DescribeOptions;
    readonly accessLog: Logger;
  }) {
    this.#metrics = components.metrics;
    this.#describe = components.describe;
    this.#accessLog = components.accessLog;
    components.describe.mesh.onChange(() => {
      this.#lastSeries = new WeakMap();
    });
  }

  finished(request: ReportedRequest): void {
    this.#seriesOf(request).add(request.result, request.durationMs);
    this.#log(request);
  }

  #seriesOf(request: ReportedRequest): HttpSeries {
    const { connection, target, isGrpc, result } = request;
    const { destination, flag, status, grpcStatus } = result;
    const service = result.service ?? (target?.kind === "service" ? target.service : undefined);
    const last = this.#lastSeries.get(connection);
    const isSame =
      last?.destination === destination &&
      last?.service === service &&
      last?.status === status &&
      last.flag === flag &&
      last.isGrpc === isGrpc &&
      last.grpcStatus === grpcStatus;
    if (last && isSame) return last.series;
    const series = this.#findSeries(request, service);
    this.#lastSeries.set(connection, { destination, service, isGrpc, flag, status, grpcStatus, series });
    return series;
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

  #fieldsOf(connection: ClientConnection): ConnectionFields {
    let fields = this.#fields.get(connection);
    if (!fields) {
      const { source, address } = connection;
      fields = {
        "src.addr": displayed(formatSocketAddress(source)),
        "src.identity": source.identity && formatSpiffeId(source.identity),
        "dst.addr": displayed(formatSocketAddress(address)),
      };
      this.#fields.set(connection, fields);
    }
    return fields;
  }

  #log({ connection, target, head, route, result, durationMs }: ReportedRequest): void {
    const service = target?.kind === "service" ? target.service.hostname : undefined;
    const fields = this.#fieldsOf(connection);
    this.#accessLog.info("request complete", {
      "src.addr": fields["src.addr"],
      "src.identity": fields["src.identity"],
      "dst.addr": fields["dst.addr"],
      "dst.service": service,
      "dst.workload": result.destination?.name,
      "dst.namespace": result.destination?.namespace,
      hairpinned: connection.source.hairpinned ? true : undefined,
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
