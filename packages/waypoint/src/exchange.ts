import { errorMessage, type Clock, type Timer } from "@hairpin/shared/process";
import type { Workload } from "@hairpin/shared/model";
import { ErrorCode, Http2Error, type HeaderList, type Http2StreamHandler } from "@hairpin/wire";
import {
  localResponse,
  renderLocalResponse,
  responseFlag,
  type LocalResponse,
  type ResponseFlag,
} from "./error-response.ts";
import { runResponseFilters } from "./filter/order.ts";
import type { HttpUpstreams } from "./forward/http-upstreams.ts";
import { HttpStreamError, upgradeField, type HttpStream } from "./http/http-stream.ts";
import { headBytes, writeRequest } from "./read-request.ts";
import type { EndpointDraw, RequestPlan } from "./request-context.ts";

/** Endpoints tried after the first one, when a request certainly reached nobody (Istio's default retries: 2). */
const maxRetries = 2;

/** What an exchange came to, for metrics and the access log. */
export interface ExchangeResult {
  /** 0: the client went away before an answer. */
  readonly status: number;
  readonly flag: ResponseFlag;
  readonly grpcStatus: string;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly destination: Workload | undefined;
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

/**
 * Carries out the plan of one request: answers it, or sends it to an endpoint and copies both bodies with back-pressure.
 *
 * States: connecting (request body not read yet) → sent (head is upstream; body flows) → answered (response head went to the
 * client) → done. A failure before `answered` becomes a local answer or, while nothing of the request can have been seen, a
 * retry; after it the exchange is reset.
 */
export class Exchange implements Http2StreamHandler {
  readonly #request: ExchangeRequest;
  readonly #upstreams: HttpUpstreams;
  readonly #clock: Clock;
  readonly #onFinished: (result: ExchangeResult) => void;
  readonly #tried = new Set<string>();
  #upstream: HttpStream | undefined;
  #attempts = 0;
  #requestTimer: Timer | undefined;
  #attemptTimer: Timer | undefined;
  #status = 0;
  #flag: ResponseFlag = responseFlag.none;
  #grpcStatus = "";
  #destination: Workload | undefined;
  #reason: string | undefined;
  #policy: string | undefined;
  #rule: number | undefined;
  #requestBytes: number;
  #responseBytes = 0;
  #requestBodySent = false;
  #requestEnded: boolean;
  #requestTrailers: HeaderList | undefined;
  #answered = false;
  #switched = false;
  #finished = false;

  constructor(
    request: ExchangeRequest,
    components: { readonly upstreams: HttpUpstreams; readonly clock: Clock },
    onFinished: (result: ExchangeResult) => void,
  ) {
    this.#request = request;
    this.#upstreams = components.upstreams;
    this.#clock = components.clock;
    this.#onFinished = onFinished;
    this.#requestBytes = headBytes(request.headers);
    this.#requestEnded = request.endStream;
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
      this.#requestTimer = this.#clock.setTimer(plan.requestTimeoutMs, () => this.#timedOut());
    void this.#attempt(plan);
  }

  // The client's side.

  onData(chunk: Uint8Array): void {
    this.#requestBytes += chunk.length;
    this.#requestBodySent = true;
    if (this.#upstream?.write(chunk) === false) this.#request.stream.pause();
  }

  onTrailers(headers: HeaderList): void {
    this.#requestTrailers = headers;
  }

  onEnd(): void {
    if (this.#switched) {
      this.#upstream?.end();
      return;
    }
    if (this.#requestEnded) return;
    this.#requestEnded = true;
    if (this.#requestTrailers) this.#upstream?.sendTrailers(this.#requestTrailers);
    else this.#upstream?.end();
  }

  onDrain(): void {
    this.#upstream?.resume();
  }

  onClose(error: Error | undefined): void {
    if (error && !this.#finished) {
      if (this.#flag === responseFlag.none) this.#flag = responseFlag.downstreamClosed;
      this.#reason ??= `the client closed the exchange: ${errorMessage(error)}`;
    }
    this.#upstream?.reset(ErrorCode.CANCEL);
    this.#finish();
  }

  // The endpoint's side.

  async #attempt(plan: Extract<RequestPlan, { kind: "forward" }>): Promise<void> {
    const draw = plan.chooseEndpoint(this.#tried);
    if (draw.kind === "respond") {
      this.#refuse(draw.response, draw.policy, draw.rule);
      return;
    }
    const { endpoint } = draw;
    this.#attempts++;
    this.#tried.add(endpoint.workload.uid);
    this.#destination = endpoint.workload;
    if (plan.attemptTimeoutMs > 0)
      this.#attemptTimer = this.#clock.setTimer(plan.attemptTimeoutMs, () => this.#timedOut());
    try {
      const head = writeRequest(plan.head, this.#request.upgrade);
      const upstream = await this.#upstreams.request(endpoint, plan.version, head, this.#request.endStream);
      if (this.#finished) {
        upstream.setHandler(ignoreAll);
        upstream.reset(ErrorCode.CANCEL);
        return;
      }
      this.#connected(upstream, draw, plan);
    } catch (error) {
      this.#attemptTimer?.cancel();
      this.#failed(plan, error, true);
    }
  }

  #connected(
    upstream: HttpStream,
    draw: Extract<EndpointDraw, { kind: "endpoint" }>,
    plan: Extract<RequestPlan, { kind: "forward" }>,
  ): void {
    this.#upstream = upstream;
    const { stream } = this.#request;
    upstream.setHandler({
      onInformational: (headers) => stream.sendInformational(headers),
      onHeaders: (headers, endStream) => this.#respond(headers, endStream, plan),
      onData: (chunk) => {
        this.#responseBytes += chunk.length;
        if (!stream.write(chunk)) upstream.pause();
      },
      onTrailers: (headers) => this.#respondTrailers(headers),
      onEnd: () => stream.end(),
      onDrain: () => stream.resume(),
      onClose: (error) => {
        if (this.#upstream === upstream) this.#upstreamClosed(plan, error);
      },
    });
    this.#destination = draw.endpoint.workload;
    upstream.resume();
    stream.resume();
  }

  #respond(headers: HeaderList, endStream: boolean, plan: Extract<RequestPlan, { kind: "forward" }>): void {
    this.#answered = true;
    this.#attemptTimer?.cancel();
    this.#status = Number(headers.find(({ name }) => name === ":status")?.value ?? 0);
    this.#grpcStatus = headers.find(({ name }) => name === "grpc-status")?.value ?? "";
    this.#responseBytes += headBytes(headers);
    const pseudo = headers.filter(({ name }) => name === ":status" || name === upgradeField);
    const fields = runResponseFilters(
      plan.responseFilters,
      headers.filter(({ name }) => !name.startsWith(":")),
    );
    if (this.#status === 101) {
      this.#switched = true;
      this.#requestTimer?.cancel();
    }
    this.#request.stream.respond([...pseudo, ...fields], { endStream });
  }

  #respondTrailers(headers: HeaderList): void {
    this.#grpcStatus = headers.find(({ name }) => name === "grpc-status")?.value ?? this.#grpcStatus;
    this.#responseBytes += headBytes(headers);
    this.#request.stream.sendTrailers(headers);
  }

  #upstreamClosed(plan: Extract<RequestPlan, { kind: "forward" }>, error: Error | undefined): void {
    this.#attemptTimer?.cancel();
    this.#upstream = undefined;
    if (!error) return;
    if (!this.#answered) {
      this.#failed(plan, error, false);
      return;
    }
    this.#flag = responseFlag.upstreamClosed;
    this.#reason = errorMessage(error);
    this.#request.stream.reset(ErrorCode.INTERNAL_ERROR);
  }

  /** Before an answer: another endpoint if the request can have been seen by nobody, else 503. */
  #failed(plan: Extract<RequestPlan, { kind: "forward" }>, error: unknown, beforeSending: boolean): void {
    if (this.#finished) return;
    const unseen = beforeSending || (isRetryable(error) && !this.#requestBodySent);
    if (unseen && this.#attempts <= maxRetries) {
      this.#request.stream.pause();
      void this.#attempt(plan);
      return;
    }
    const reason = errorMessage(error);
    this.#refuse(beforeSending ? localResponse.connectFailure(reason) : localResponse.upstreamClosed(reason));
  }

  #timedOut(): void {
    if (this.#finished) return;
    const upstream = this.#upstream;
    this.#upstream = undefined;
    upstream?.reset(ErrorCode.CANCEL);
    if (this.#answered) {
      this.#flag = responseFlag.upstreamTimeout;
      this.#reason = "upstream request timeout";
      this.#request.stream.reset(ErrorCode.CANCEL);
    } else {
      this.#refuse(localResponse.timeout());
    }
  }

  #refuse(response: LocalResponse, policy?: string, rule?: number): void {
    this.#answered = true;
    this.#flag = response.flag;
    this.#reason = response.reason;
    this.#policy = policy;
    this.#rule = rule;
    const { stream, isGrpc } = this.#request;
    if (stream.closed) return;
    const { head, body, grpcStatus } = renderLocalResponse(response, isGrpc);
    this.#status = isGrpc ? 200 : response.status;
    this.#grpcStatus = grpcStatus;
    this.#responseBytes += headBytes(head) + body.length;
    stream.respond(head, { endStream: body.length === 0 });
    if (body.length > 0) {
      stream.write(body);
      stream.end();
    }
    // The rest of the request is not wanted: an HTTP/2 client is told so, an HTTP/1.1 connection closes after the answer.
    if (!this.#requestEnded && "session" in stream) stream.reset(ErrorCode.NO_ERROR);
    this.#finish();
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#requestTimer?.cancel();
    this.#attemptTimer?.cancel();
    this.#onFinished({
      status: this.#status,
      flag: this.#flag,
      grpcStatus: this.#grpcStatus,
      requestBytes: this.#requestBytes,
      responseBytes: this.#responseBytes,
      destination: this.#destination,
      reason: this.#reason,
      policy: this.#policy,
      rule: this.#rule,
    });
  }
}

const ignoreAll: Http2StreamHandler = { onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} };

function isRetryable(error: unknown): boolean {
  return (error instanceof HttpStreamError || error instanceof Http2Error) && error.retryable;
}
