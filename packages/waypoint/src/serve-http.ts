import type { Clock } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { createHttp2Session, type ByteChannel, type HeaderList } from "@hairpin/wire";
import { localResponse, renderLocalResponse } from "./error-response.ts";
import { Exchange } from "./exchange.ts";
import type { HttpUpstreams } from "./forward/http-upstreams.ts";
import { Http1Server } from "./http/http1-server.ts";
import type { HttpStream } from "./http/http-stream.ts";
import { planRequest, type PlanInput } from "./phases.ts";
import { readRequest } from "./read-request.ts";
import type { TunnelContext } from "./request-context.ts";
import { describeTraffic, type DescribeOptions } from "./telemetry/describe-traffic.ts";
import { logRequest } from "./telemetry/request-log.ts";
import type { RequestMetrics } from "./telemetry/request-metrics.ts";

export interface HttpServerComponents {
  readonly input: PlanInput;
  readonly upstreams: HttpUpstreams;
  readonly clock: Clock;
  readonly metrics: RequestMetrics;
  readonly describe: DescribeOptions;
  /** Scope `access`. */
  readonly accessLog: Logger;
  readonly logger: Logger;
}

/** An HTTP connection of a client, whichever version. */
export interface HttpConnection {
  /** No further requests; those under way go on. */
  drain(): void;
}

/** Limits of clients' HTTP/2 connections: applications' requests, not tunnels. */
const http2Options = {
  maxConcurrentStreams: 100,
  initialWindowSize: 1024 * 1024,
  connectionWindowSize: 4 * 1024 * 1024,
  maxHeaderListBytes: 64 * 1024,
  maxHeaderCount: 256,
};

/** Serves the HTTP of one tunnel; takes the channel over. `onClosed` is called once, when it is gone. */
export function serveHttp(
  channel: ByteChannel,
  version: "http1" | "http2",
  tunnel: TunnelContext,
  components: HttpServerComponents,
  onClosed: () => void,
): HttpConnection {
  const onStream = (stream: HttpStream, headers: HeaderList, endStream: boolean): void =>
    serveRequest({ stream, headers, endStream, version }, tunnel, components);
  if (version === "http2") {
    const session = createHttp2Session({
      role: "server",
      channel,
      options: http2Options,
      handler: { onStream, onClose: onClosed },
    });
    return { drain: () => session.shutdown() };
  }
  const server = new Http1Server(channel, {
    onStream,
    onBadRequest: (error) => components.logger.debug("request refused", { reason: error.message }),
    onClose: onClosed,
  });
  return { drain: () => server.shutdown() };
}

interface IncomingRequest {
  readonly stream: HttpStream;
  readonly headers: HeaderList;
  readonly endStream: boolean;
  readonly version: "http1" | "http2";
}

function serveRequest(
  { stream, headers, endStream, version }: IncomingRequest,
  tunnel: TunnelContext,
  components: HttpServerComponents,
): void {
  const startedAt = components.clock.now();
  const read = readRequest(headers);
  if (read.kind === "bad-request") {
    const { head, body } = renderLocalResponse(localResponse.badRequest(read.reason), false);
    stream.setHandler({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
    stream.respond(head);
    stream.write(body);
    stream.end();
    return;
  }
  const { head, isGrpc, upgrade } = read;
  const plan = planRequest(head, tunnel, { version, isGrpc, isUpgrade: upgrade !== undefined }, components.input);
  const exchange = new Exchange({ stream, headers, endStream, isGrpc, upgrade, plan }, components, (result) => {
    const durationMs = components.clock.now() - startedAt;
    const service = tunnel.target.kind === "service" ? tunnel.target.service : undefined;
    const traffic = {
      source: tunnel.source,
      destination: result.destination,
      service,
      protocol: isGrpc ? "grpc" : "http",
      flag: result.flag,
    } as const;
    const labels = {
      ...describeTraffic(traffic, components.describe),
      response_code: String(result.status),
      grpc_response_status: result.grpcStatus,
    };
    components.metrics.requestFinished(labels, {
      durationMs,
      requestBytes: result.requestBytes,
      responseBytes: result.responseBytes,
    });
    logRequest(components.accessLog, { head, tunnel, plan, result, durationMs });
  });
  exchange.start();
}
