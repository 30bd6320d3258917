import { errorMessage, type Clock, type Timer } from "@hairpin/shared/process";
import type { Service, Workload } from "@hairpin/shared/model";
import type { Logger } from "@hairpin/shared/telemetry";
import { ErrorCode, findHeader, Http2Error, type HeaderList, type Http2StreamHandler } from "@hairpin/wire";
import {
  localResponse,
  renderLocalResponse,
  responseFlag,
  type LocalResponse,
  type ResponseFlag,
} from "./error-response.ts";
import type { Filter } from "./filter/filter.ts";
import { runResponseFilters } from "./filter/order.ts";
import type { HttpUpstreams } from "./forward/http-upstreams.ts";
import { GrpcMessageCounter } from "./grpc-messages.ts";
import { HttpStreamError, upgradeField, type HttpStream } from "./http/http-stream.ts";
import { headBytes, writeRequest } from "./read-request.ts";
import type { RequestPlan } from "./request-context.ts";

/** Endpoints tried after the first one (Istio's default retries: 2). */
const maxRetries = 2;

/** How long a side may take none of the bytes that wait for it. One that only has nothing to say may take as long as it likes. */
const stallTimeoutMs = 5 * 60_000;

/** Methods that may be carried out twice (RFC 9110 §9.2.2). */
const idempotentMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/** What an exchange came to, for metrics and the access log. */
export interface ExchangeResult {
  /** 0: the client went away before an answer. */
  readonly status: number;
  readonly flag: ResponseFlag;
  readonly grpcStatus: string;
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** gRPC messages; 0 for other protocols. */
  readonly requestMessages: number;
  readonly responseMessages: number;
  readonly destination: Workload | undefined;
  /** The service whose endpoint was chosen. */
  readonly service: Service | undefined;
  /** Why the waypoint itself answered, or what broke. */
  readonly reason: string | undefined;
  readonly policy: string | undefined;
  readonly rule: number | undefined;
}

export interface ExchangeRequest {
  readonly stream: HttpStream;
  readonly headers: HeaderList;
  readonly endStream: boolean;
  readonly isGrpc: boolean;
  readonly upgrade: string | undefined;
  readonly plan: RequestPlan;
}

export interface ExchangeComponents {
  readonly upstreams: HttpUpstreams;
  readonly clock: Clock;
  readonly logger: Logger;
}

type ForwardPlan = Extract<RequestPlan, { readonly kind: "forward" }>;

/**
 * Carries out the plan of one request: answers it, or sends it to an endpoint and copies both bodies with back-pressure.
 *
 * States: connecting (the request's body is not read yet) → sent (head is upstream; body flows) → answered (the response's head
 * went to the client) → finished (reported). A failure before `answered` becomes a local answer or, while the endpoint can
 * have acted on nothing, another attempt; after it the exchange is reset. `switched` (101): bytes both ways until both ended.
 *
 * Nothing that is thrown in here leaves it: the exchange ends, its siblings and the connection go on.
 */
export class Exchange implements Http2StreamHandler {
  readonly #request: ExchangeRequest;
  readonly #components: ExchangeComponents;
  readonly #onFinished: (result: ExchangeResult) => void;
  readonly #tried = new Set<string>();
  readonly #requestMessages: GrpcMessageCounter | undefined;
  readonly #responseMessages: GrpcMessageCounter | undefined;
  #upstream: HttpStream | undefined;
  #attempts = 0;
  #requestTimer: Timer | undefined;
  #attemptTimer: Timer | undefined;
  /** Run while the application, or the client, takes nothing of what waits for it. */
  #requestStall: Timer | undefined;
  #responseStall: Timer | undefined;
  #status = 0;
  #flag: ResponseFlag = responseFlag.none;
  #grpcStatus = "";
  #destination: Workload | undefined;
  #service: Service | undefined;
  #reason: string | undefined;
  #policy: string | undefined;
  #rule: number | undefined;
  #requestBytes: number;
  #responseBytes = 0;
  #requestBodySent = false;
  #requestEnded: boolean;
  #requestTrailers: HeaderList | undefined;
  #answered = false;
  #responseEnded = false;
  #switched = false;
  #finished = false;

  constructor(request: ExchangeRequest, components: ExchangeComponents, onFinished: (result: ExchangeResult) => void) {
    this.#request = request;
    this.#components = components;
    this.#onFinished = onFinished;
    this.#requestBytes = headBytes(request.headers);
    this.#requestEnded = request.endStream;
    if (request.isGrpc) {
      this.#requestMessages = new GrpcMessageCounter();
      this.#responseMessages = new GrpcMessageCounter();
    }
    request.stream.setHandler(this);
  }

  start(): void {
    const { plan } = this.#request;
    if (plan.kind === "respond") {
      this.#destination = plan.destination;
      this.#refuse(plan.response, plan.policy, plan.rule);
      return;
    }
    if (plan.requestTimeoutMs > 0)
      this.#requestTimer = this.#components.clock.setTimer(plan.requestTimeoutMs, () => this.#timedOut());
    try {
      this.#attempt(plan);
    } catch (error) {
      this.#abort(error);
    }
  }

  // The client's side.

  onData(chunk: Uint8Array): void {
    this.#requestBytes += chunk.length;
    this.#requestBodySent = true;
    this.#requestMessages?.push(chunk);
    if (this.#upstream?.write(chunk) !== false) return;
    this.#request.stream.pause();
    this.#requestStall ??= this.#watchStall("application");
  }

  onTrailers(headers: HeaderList): void {
    this.#requestTrailers = headers;
    this.#requestBytes += headBytes(headers);
  }

  onEnd(): void {
    if (this.#requestEnded) return;
    this.#requestEnded = true;
    this.#endRequest();
  }

  onDrain(): void {
    this.#responseStall?.cancel();
    this.#responseStall = undefined;
    this.#upstream?.resume();
  }

  onClose(error: Error | undefined): void {
    if (error && !this.#finished) this.#clientFailed(error);
    // A response that ended has let go of its endpoint already.
    if (!this.#responseEnded || !this.#requestEnded) this.#letGo(ErrorCode.CANCEL);
    this.#finish();
  }

  #clientFailed(error: Error): void {
    this.#reason ??= `the client closed the exchange: ${errorMessage(error)}`;
    if (error instanceof HttpStreamError && error.status !== undefined) {
      this.#flag = responseFlag.downstreamProtocolError;
      this.#status = error.status;
    } else if (this.#flag === responseFlag.none) {
      this.#flag = responseFlag.downstreamClosed;
    }
  }

  // The endpoint's side.

  #attempt(plan: ForwardPlan): void {
    const draw = plan.chooseEndpoint(this.#tried);
    if (draw.kind === "respond") {
      this.#refuse(draw.response, draw.policy, draw.rule);
      return;
    }
    const { endpoint } = draw;
    this.#attempts++;
    this.#tried.add(endpoint.workload.uid);
    this.#destination = endpoint.workload;
    this.#service = endpoint.service;
    if (plan.attemptTimeoutMs > 0)
      this.#attemptTimer = this.#components.clock.setTimer(plan.attemptTimeoutMs, () => this.#timedOut());
    const head = writeRequest(plan.head, this.#request.upgrade);
    const endStream = this.#requestEnded && this.#requestTrailers === undefined;
    const { upstreams } = this.#components;
    let upstream: HttpStream | undefined;
    try {
      upstream = upstreams.requestNow(endpoint, plan.version, head, endStream);
    } catch (error) {
      this.#attemptFailed(plan, error, true);
      return;
    }
    if (upstream) {
      this.#sent(upstream, plan, endStream);
      return;
    }
    upstreams
      .request(endpoint, plan.version, head, endStream)
      .then(
        (stream) => this.#sent(stream, plan, endStream),
        (error: unknown) => this.#attemptFailed(plan, error, true),
      )
      .catch((error: unknown) => this.#abort(error));
  }

  /** The head is on its way; `endStream`: it was the whole request. */
  #sent(upstream: HttpStream, plan: ForwardPlan, endStream: boolean): void {
    if (this.#finished) {
      upstream.setHandler(ignoreAll);
      upstream.reset(ErrorCode.CANCEL);
      return;
    }
    this.#connected(upstream, plan);
    if (this.#requestEnded && !endStream) this.#endRequest();
  }

  #connected(upstream: HttpStream, plan: ForwardPlan): void {
    this.#upstream = upstream;
    const { stream } = this.#request;
    upstream.setHandler({
      onInformational: (headers) => this.#inform(headers),
      onHeaders: (headers, endStream) => this.#respond(headers, endStream, plan),
      onData: (chunk) => {
        this.#responseBytes += chunk.length;
        this.#responseMessages?.push(chunk);
        if (stream.write(chunk)) return;
        upstream.pause();
        this.#responseStall ??= this.#watchStall("client");
      },
      onTrailers: (headers) => this.#respondTrailers(headers),
      onEnd: () => this.#respondEnd(),
      onDrain: () => {
        this.#requestStall?.cancel();
        this.#requestStall = undefined;
        stream.resume();
      },
      onClose: (error) => {
        if (this.#upstream === upstream) this.#upstreamClosed(plan, error);
      },
    });
    upstream.resume();
    stream.resume();
  }

  /** The client ended its direction. */
  #endRequest(): void {
    if (this.#requestTrailers) this.#upstream?.sendTrailers(this.#requestTrailers);
    else this.#upstream?.end();
  }

  /** Interim answers are a courtesy: one that cannot be passed on is left out. */
  #inform(headers: HeaderList): void {
    try {
      this.#request.stream.sendInformational(headers);
    } catch (error) {
      this.#components.logger.debug("interim response dropped", { reason: errorMessage(error) });
    }
  }

  #respond(headers: HeaderList, endStream: boolean, plan: ForwardPlan): void {
    if (this.#finished) return;
    const status = findHeader(headers, ":status") ?? "";
    if (status === "101") this.#switch();
    try {
      this.#request.stream.respond(filterResponse(headers, plan.responseFilters), { endStream });
    } catch (error) {
      // Nothing was sent: the client still gets an answer.
      this.#letGo(ErrorCode.CANCEL);
      this.#refuse(localResponse.badUpstream(`the response cannot be passed on: ${errorMessage(error)}`));
      return;
    }
    this.#answered = true;
    this.#status = Number(status);
    this.#grpcStatus = findHeader(headers, "grpc-status") ?? "";
    this.#responseBytes += headBytes(headers);
  }

  /** From here on both directions are another protocol's, which has its own idea of time. */
  #switch(): void {
    this.#switched = true;
    this.#requestEnded = false;
    this.#requestTimer?.cancel();
    this.#attemptTimer?.cancel();
  }

  #respondTrailers(headers: HeaderList): void {
    this.#grpcStatus = findHeader(headers, "grpc-status") ?? this.#grpcStatus;
    this.#responseBytes += headBytes(headers);
    this.#request.stream.sendTrailers(headers);
  }

  #respondEnd(): void {
    this.#responseEnded = true;
    this.#requestTimer?.cancel();
    this.#attemptTimer?.cancel();
    const { stream } = this.#request;
    stream.end();
    if (this.#requestEnded || this.#switched) return;
    // Answered before the request was through: the rest is wanted by nobody (RFC 9113 §8.1).
    this.#letGo(ErrorCode.NO_ERROR);
    stream.reset(ErrorCode.NO_ERROR);
  }

  #upstreamClosed(plan: ForwardPlan, error: Error | undefined): void {
    this.#upstream = undefined;
    if (this.#finished) return;
    if (!this.#answered) {
      this.#attemptFailed(plan, error ?? new Error("The application closed the exchange without an answer"), false);
      return;
    }
    if (!error && this.#responseEnded) return;
    this.#flag = responseFlag.upstreamClosed;
    this.#reason = errorMessage(error ?? "the application closed the exchange inside its answer");
    this.#request.stream.reset(ErrorCode.INTERNAL_ERROR);
  }

  /** Before an answer: another endpoint if this one can have acted on nothing, else a local answer. */
  #attemptFailed(plan: ForwardPlan, error: unknown, connecting: boolean): void {
    this.#attemptTimer?.cancel();
    if (this.#finished) return;
    try {
      const reason = errorMessage(error);
      if (isBadMessage(error)) {
        this.#refuse(localResponse.badUpstream(reason));
        return;
      }
      const retryable = connecting || (!this.#requestBodySent && this.#mayRetry(plan, error));
      if (retryable && this.#attempts <= maxRetries) {
        this.#request.stream.pause();
        this.#attempt(plan);
        return;
      }
      const retried = retryable && this.#attempts > 1;
      this.#refuse(
        connecting ? localResponse.connectFailure(reason, retried) : localResponse.upstreamClosed(reason, retried),
      );
    } catch (failure) {
      this.#abort(failure);
    }
  }

  #mayRetry(plan: ForwardPlan, error: unknown): boolean {
    if (!(error instanceof HttpStreamError || error instanceof Http2Error)) return false;
    return error.retryable === true || (error.retryable === "idempotent" && idempotentMethods.has(plan.head.method));
  }

  #watchStall(side: "client" | "application"): Timer | undefined {
    if (this.#switched) return undefined;
    return this.#components.clock.setTimer(stallTimeoutMs, () => {
      if (this.#finished) return;
      this.#flag = responseFlag.streamIdle;
      this.#reason = `the ${side} took nothing of what waits for it for ${stallTimeoutMs} ms`;
      this.#letGo(ErrorCode.CANCEL);
      this.#request.stream.reset(ErrorCode.CANCEL);
    });
  }

  #timedOut(): void {
    if (this.#finished) return;
    try {
      this.#letGo(ErrorCode.CANCEL);
      if (!this.#answered) {
        this.#refuse(localResponse.timeout());
        return;
      }
      this.#flag = responseFlag.upstreamTimeout;
      this.#reason = "upstream request timeout";
      this.#request.stream.reset(ErrorCode.CANCEL);
    } catch (error) {
      this.#abort(error);
    }
  }

  /** Answers the request here. Throws what `respond` throws. */
  #refuse(response: LocalResponse, policy?: string, rule?: number): void {
    const { stream, isGrpc } = this.#request;
    this.#answered = true;
    this.#flag = response.flag;
    this.#reason = response.reason;
    this.#policy = policy;
    this.#rule = rule;
    if (stream.closed) return;
    const { head, body, grpcStatus } = renderLocalResponse(response, isGrpc);
    this.#status = isGrpc ? 200 : response.status;
    this.#grpcStatus = grpcStatus;
    this.#responseBytes += headBytes(head) + body.length;
    this.#responseEnded = true;
    const unread = !this.#requestEnded;
    stream.respond(head, { endStream: body.length === 0, close: unread || response.close === true });
    if (body.length > 0) {
      stream.write(body);
      stream.end();
    }
    if (unread) stream.reset(ErrorCode.NO_ERROR);
    this.#finish();
  }

  /** A mistake of ours: this exchange ends, with an answer if there was none yet. */
  #abort(error: unknown): void {
    const reason = errorMessage(error);
    this.#components.logger.error("exchange failed", { error: reason });
    this.#letGo(ErrorCode.CANCEL);
    try {
      if (!this.#answered) {
        this.#refuse(localResponse.internal(reason));
        return;
      }
    } catch (refusing) {
      this.#components.logger.error("exchange not answered", { error: errorMessage(refusing) });
    }
    this.#reason ??= reason;
    this.#request.stream.reset(ErrorCode.INTERNAL_ERROR);
    this.#finish();
  }

  /** Ends what the endpoint still does for this exchange; nothing of it is heard any more. */
  #letGo(errorCode: number): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    upstream?.reset(errorCode);
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#requestTimer?.cancel();
    this.#attemptTimer?.cancel();
    this.#requestStall?.cancel();
    this.#responseStall?.cancel();
    const result: ExchangeResult = {
      status: this.#status,
      flag: this.#flag,
      grpcStatus: this.#grpcStatus,
      requestBytes: this.#requestBytes,
      responseBytes: this.#responseBytes,
      requestMessages: this.#requestMessages?.count ?? 0,
      responseMessages: this.#responseMessages?.count ?? 0,
      destination: this.#destination,
      service: this.#service,
      reason: this.#reason,
      policy: this.#policy,
      rule: this.#rule,
    };
    try {
      this.#onFinished(result);
    } catch (error) {
      this.#components.logger.error("exchange not reported", { error: errorMessage(error) });
    }
  }
}

/** A response's head after the filters, which see its fields only. */
function filterResponse(headers: HeaderList, filters: readonly Filter[]): HeaderList {
  if (filters.length === 0) return headers;
  const pseudo = headers.filter(({ name }) => name === ":status" || name === upgradeField);
  const fields = headers.filter(({ name }) => !name.startsWith(":"));
  return [...pseudo, ...runResponseFilters(filters, fields)];
}

const ignoreAll: Http2StreamHandler = { onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} };

function isBadMessage(error: unknown): boolean {
  return error instanceof HttpStreamError && error.code === "HTTP_BAD_MESSAGE";
}
