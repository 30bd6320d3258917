// One request to the API server over node's HTTP: connections are kept, broken ones tried again, and a busy server obeyed.

import * as http from "node:http";
import * as https from "node:https";
import { text } from "node:stream/consumers";
import { type Clock, delay, errorMessage } from "../process/index.ts";
import { version } from "../telemetry/index.ts";
import type { ApiConnection, ApiRequestOptions } from "./api-connection.ts";
import { ApiError, apiErrorFromStatus } from "./api-error.ts";

/** No byte for this long ends a request; watches have a timer of their own. */
const inactivityMs = 30_000;
const maxSockets = 64;
/** How often a busy server is asked again before the caller learns of it, and how long each wait is at most. */
const maxBusyRetries = 3;
const maxBusyWaitMs = 10_000;

export interface ApiCall {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

export class ApiHttp {
  readonly #connection: ApiConnection;
  readonly #clock: Clock;
  readonly #agent: http.Agent;

  constructor(components: { readonly connection: ApiConnection; readonly clock: Clock }) {
    this.#connection = components.connection;
    this.#clock = components.clock;
    const options = { keepAlive: true, maxSockets };
    this.#agent = this.#isTls ? new https.Agent(options) : new http.Agent(options);
  }

  /** The answer's JSON; rejects with {@link ApiError} for anything but 2xx. */
  async request(call: ApiCall): Promise<unknown> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#requestOnce(call);
      } catch (error) {
        if (!(error instanceof ApiError) || error.retryAfterMs === undefined || attempt >= maxBusyRetries) throw error;
        await delay(this.#clock, Math.min(error.retryAfterMs, maxBusyWaitMs), call.signal);
      }
    }
  }

  /** An answer that does not end (a watch); the caller reads it and destroys it. No inactivity limit. */
  async open(call: ApiCall): Promise<http.IncomingMessage> {
    const response = await this.#send(call, 0);
    if (isSuccess(response)) return response;
    throw await this.#refused(call, response);
  }

  async #requestOnce(call: ApiCall): Promise<unknown> {
    const response = await this.#send(call, inactivityMs);
    if (!isSuccess(response)) throw await this.#refused(call, response);
    try {
      return JSON.parse(await text(response)) as unknown;
    } catch (cause) {
      throw unavailable(call, cause);
    }
  }

  async #refused(call: ApiCall, response: http.IncomingMessage): Promise<ApiError> {
    const body = await text(response).catch(() => "");
    const seconds = Number(response.headers["retry-after"]);
    const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined;
    return apiErrorFromStatus(describe(call), response.statusCode ?? 0, parseJson(body), retryAfterMs);
  }

  /** A kept connection may die just when it is used again: what can be repeated is, once. */
  async #send(call: ApiCall, timeoutMs: number): Promise<http.IncomingMessage> {
    const options = await this.#connection.requestOptions();
    try {
      return await this.#sendOnce(call, options, timeoutMs);
    } catch (error) {
      if (call.signal?.aborted === true) throw call.signal.reason;
      if (!(error instanceof StaleConnection) || call.method === "POST") throw unavailable(call, error);
    }
    try {
      return await this.#sendOnce(call, options, timeoutMs);
    } catch (error) {
      throw unavailable(call, error);
    }
  }

  async #sendOnce(call: ApiCall, options: ApiRequestOptions, timeoutMs: number): Promise<http.IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    const request = (this.#isTls ? https : http).request(this.#urlOf(call), {
      agent: this.#agent,
      ...options,
      method: call.method,
      timeout: timeoutMs,
      ...(call.signal === undefined ? {} : { signal: call.signal }),
      headers: {
        ...options.headers,
        accept: "application/json",
        "user-agent": `hairpin/${version}`,
        ...(body === undefined
          ? {}
          : { "content-type": call.contentType ?? "application/json", "content-length": body.length }),
      },
    });
    request.once("response", resolve);
    request.once("timeout", () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    request.once("error", (error) => reject(request.reusedSocket ? new StaleConnection(error.message) : error));
    request.end(body);
    return await promise;
  }

  get #isTls(): boolean {
    return this.#connection.server.protocol === "https:";
  }

  #urlOf({ path, query = {} }: ApiCall): URL {
    const { server } = this.#connection;
    const url = new URL(server);
    url.pathname = `${server.pathname.replace(/\/$/, "")}${path}`;
    for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, value);
    return url;
  }
}

class StaleConnection extends Error {}

function isSuccess({ statusCode = 0 }: http.IncomingMessage): boolean {
  return statusCode >= 200 && statusCode < 300;
}

function unavailable(call: ApiCall, cause: unknown): ApiError {
  return new ApiError("API_UNAVAILABLE", `${describe(call)} got no answer: ${errorMessage(cause)}`, { cause });
}

function describe({ method, path }: ApiCall): string {
  return `${method} ${path}`;
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    // A proxy's page, or the server's "404 page not found".
    return undefined;
  }
}
