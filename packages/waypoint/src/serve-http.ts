import { defaultFrameTimerOptions, FrameTimers, type ResetBudgets, type SessionMetrics } from "@hairpin/hbone";
import { formatSocketAddress } from "@hairpin/shared/model";
import { errorMessage, type Clock } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { createHttp2Session, type ByteChannel, type HeaderList } from "@hairpin/wire";
import type { ClientConnection } from "./client-connection.ts";
import { localResponse, responseFlag, type LocalResponse } from "./error-response.ts";
import { Exchange } from "./exchange.ts";
import type { HttpUpstreams } from "./forward/http-upstreams.ts";
import { Http1Server } from "./http/http1-server.ts";
import type { HttpStream } from "./http/http-stream.ts";
import { planRequest, type PlanInput } from "./phases.ts";
import { readRequest, type ReadRequest } from "./read-request.ts";
import type { ManagedTarget, RequestPlan } from "./request-context.ts";
import type { RequestReporter } from "./telemetry/request-reporter.ts";
import type { Target } from "./terminate/resolve-target.ts";
import type { TargetCache } from "./terminate/target-cache.ts";

export interface HttpServerComponents {
  readonly input: PlanInput;
  readonly targets: TargetCache;
  readonly upstreams: HttpUpstreams;
  readonly clock: Clock;
  readonly reporter: RequestReporter;
  readonly resetBudgets: ResetBudgets;
  readonly sessionMetrics: SessionMetrics;
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
  maxSendBufferBytes: 256 * 1024,
};

/** Serves the HTTP of one tunnel; takes the channel over. `onClosed` is called once, when it is gone. */
export function serveHttp(
  channel: ByteChannel,
  version: "http1" | "http2",
  connection: ClientConnection,
  components: HttpServerComponents,
  onClosed: () => void,
): HttpConnection {
  const onStream = (stream: HttpStream, headers: HeaderList, endStream: boolean): void =>
    serveRequest({ stream, headers, endStream, version }, connection, components);
  if (version === "http2") return serveHttp2(channel, onStream, connection, components, onClosed);
  const handler = {
    onStream,
    onBadRequest: (error: Error, status: number) => reportUnreadable(error, status, connection, components),
    onClose: onClosed,
  };
  const server = new Http1Server(channel, { handler, clock: components.clock });
  return { drain: () => server.shutdown() };
}

function serveHttp2(
  channel: ByteChannel,
  onStream: (stream: HttpStream, headers: HeaderList, endStream: boolean) => void,
  { source }: ClientConnection,
  { clock, resetBudgets, sessionMetrics }: HttpServerComponents,
  onClosed: () => void,
): HttpConnection {
  const session = createHttp2Session({
    role: "server",
    channel,
    options: { ...http2Options, now: () => clock.now(), resetBudget: resetBudgets.of(source) },
    handler: {
      onStream,
      onSettings: () => timers.onSettings(),
      onHeaderBlock: (open) => timers.onHeaderBlock(open),
      ...sessionMetrics.sessionHandler("downstream", "requests"),
      onClose: () => {
        timers.stop();
        onClosed();
      },
    },
  });
  const timers = new FrameTimers(session, clock, defaultFrameTimerOptions, ({ kind, message, errorCode }) => {
    const limit = kind === "headers" ? "headersTimeout" : "settingsTimeout";
    sessionMetrics.limitHit("downstream", "requests", limit);
    session.destroy(new Error(message), errorCode);
  });
  return { drain: () => session.shutdown() };
}

interface IncomingRequest {
  readonly stream: HttpStream;
  readonly headers: HeaderList;
  readonly endStream: boolean;
  readonly version: "http1" | "http2";
}

function serveRequest(incoming: IncomingRequest, connection: ClientConnection, components: HttpServerComponents): void {
  const { stream, headers, endStream, version } = incoming;
  const { clock, reporter } = components;
  const startedAt = clock.now();
  const { read, target, plan } = decide(headers, version, connection, components);
  const head = read?.kind === "request" ? read.head : undefined;
  const isGrpc = read?.kind === "request" && read.isGrpc;
  const upgrade = read?.kind === "request" ? read.upgrade : undefined;
  const exchange = new Exchange({ stream, headers, endStream, isGrpc, upgrade, plan }, components, (result) =>
    reporter.finished({
      connection,
      target,
      head,
      isGrpc,
      route: plan.route,
      result,
      durationMs: clock.now() - startedAt,
    }),
  );
  exchange.start();
}

interface RequestDecision {
  readonly read: ReadRequest | undefined;
  readonly target: ManagedTarget | undefined;
  readonly plan: RequestPlan;
}

/** Reads a request and plans it. Never throws: what goes wrong in here is a 500 of this request. */
function decide(
  headers: HeaderList,
  version: "http1" | "http2",
  connection: ClientConnection,
  { input, targets, logger }: HttpServerComponents,
): RequestDecision {
  let read: ReadRequest | undefined;
  try {
    const target = targets.targetOf(connection);
    read = readRequest(headers, defaultAuthority(target, connection));
    if (target.kind === "refused") return answer(read, undefined, localResponse.notManaged(target.reason));
    if (read.kind === "bad-request") return answer(read, target, localResponse.badRequest(read.reason));
    const { head, isGrpc, upgrade } = read;
    const downstream = { version, isGrpc, isUpgrade: upgrade !== undefined };
    const plan = planRequest(head, { target, source: connection.source }, downstream, input);
    return { read, target, plan };
  } catch (error) {
    logger.error("request not planned", { error: errorMessage(error) });
    return answer(read, undefined, localResponse.internal(errorMessage(error)));
  }
}

function answer(
  read: ReadRequest | undefined,
  target: ManagedTarget | undefined,
  response: LocalResponse,
): RequestDecision {
  const details = { route: undefined, policy: undefined, rule: undefined, destination: undefined };
  return { read, target, plan: { kind: "respond", response, ...details } };
}

/** For requests of HTTP/1.0 without Host. */
function defaultAuthority(target: Target, { address }: ClientConnection): string {
  return target.kind === "service" ? target.service.hostname : formatSocketAddress(address);
}

/** Bytes that were no request are counted and logged like one. */
function reportUnreadable(
  error: Error,
  status: number,
  connection: ClientConnection,
  { targets, reporter }: HttpServerComponents,
): void {
  const target = targets.targetOf(connection);
  reporter.finished({
    connection,
    target: target.kind === "refused" ? undefined : target,
    head: undefined,
    isGrpc: false,
    route: undefined,
    durationMs: 0,
    result: {
      status,
      flag: responseFlag.downstreamProtocolError,
      grpcStatus: "",
      requestBytes: 0,
      responseBytes: 0,
      requestMessages: 0,
      responseMessages: 0,
      destination: undefined,
      service: undefined,
      reason: error.message,
      policy: undefined,
      rule: undefined,
    },
  });
}
