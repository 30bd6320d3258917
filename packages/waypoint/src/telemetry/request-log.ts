import type { Logger } from "@hairpin/shared/telemetry";
import { formatSpiffeId } from "@hairpin/shared/model";
import type { ExchangeResult } from "../exchange.ts";
import type { RequestHead } from "../request-head.ts";
import type { RequestPlan, TunnelContext } from "../request-context.ts";

/** One line per request at info, scope `access`; docs/metrics.md lists the fields. */
export function logRequest(
  logger: Logger,
  request: {
    readonly head: RequestHead;
    readonly tunnel: TunnelContext;
    readonly plan: RequestPlan;
    readonly result: ExchangeResult;
    readonly durationMs: number;
  },
): void {
  const { head, tunnel, plan, result, durationMs } = request;
  const { source, target } = tunnel;
  logger.info("request complete", {
    "src.addr": `${source.ip}:${source.port}`,
    "src.identity": source.identity && formatSpiffeId(source.identity),
    "dst.addr": `${target.address.ip}:${target.address.port}`,
    "dst.service": target.kind === "service" ? target.service.hostname : undefined,
    "dst.workload": result.destination?.name,
    "dst.namespace": result.destination?.namespace,
    hairpinned: source.hairpinned ? true : undefined,
    method: head.method,
    authority: head.authority,
    path: head.path,
    status: result.status,
    grpc_status: result.grpcStatus === "" ? undefined : result.grpcStatus,
    response_flags: result.flag,
    route: plan.route,
    policy: result.policy,
    rule: result.rule,
    bytes_sent: result.responseBytes,
    bytes_recv: result.requestBytes,
    duration: `${Math.round(durationMs)}ms`,
    reason: result.reason,
  });
}
