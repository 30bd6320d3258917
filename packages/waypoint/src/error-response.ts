import type { HeaderField } from "@hairpin/wire";

/** Envoy's short names for what went wrong, as metrics and access log carry them (istio-ambient.md §5.3). */
export const responseFlag = {
  none: "-",
  noRoute: "NR",
  noHealthyUpstream: "UH",
  upstreamConnectFailure: "UF",
  upstreamClosed: "UC",
  upstreamTimeout: "UT",
  downstreamClosed: "DC",
  streamIdle: "SI",
  downstreamProtocolError: "DPE",
  upstreamProtocolError: "UPE",
  /** Beside another one: tried as often as is allowed. */
  retryLimit: "URX",
} as const;
type SingleFlag = (typeof responseFlag)[keyof typeof responseFlag];
export type ResponseFlag = SingleFlag | `${SingleFlag},${typeof responseFlag.retryLimit}`;

/** An answer that the waypoint itself gives. */
export interface LocalResponse {
  readonly status: number;
  readonly headers: readonly HeaderField[];
  readonly body: string;
  readonly flag: ResponseFlag;
  /** For the access log: what and why. */
  readonly reason: string;
  /** An HTTP/1.1 connection is not used any further: what follows on it cannot be trusted, or belongs elsewhere by now. */
  readonly close?: boolean;
}

function local(status: number, body: string, reason: string, flag: ResponseFlag): LocalResponse {
  return { status, headers: [], body, flag, reason };
}

/** Envoy's words for a request that got no answer from its endpoint. */
function noAnswer(retried: boolean, resetReason: string): string {
  const latest = retried ? "retried and the latest reset reason" : "reset reason";
  return `upstream connect error or disconnect/reset before headers. ${latest}: ${resetReason}`;
}

/** The one mapping from what can go wrong to what a client sees. */
export const localResponse = {
  badRequest: (reason: string): LocalResponse => ({
    ...local(400, `bad request: ${reason}\n`, reason, responseFlag.downstreamProtocolError),
    close: true,
  }),
  denied: (reason: string): LocalResponse => local(403, "RBAC: access denied", reason, responseFlag.none),
  noRoute: (): LocalResponse => local(404, "", "no route matches", responseFlag.noRoute),
  badBackend: (reason: string): LocalResponse => local(500, "", reason, responseFlag.none),
  /** The waypoint itself failed: never the client's nor the application's fault. */
  internal: (reason: string): LocalResponse => local(500, "internal error", reason, responseFlag.none),
  /** The client's connection is older than the waypoint's present configuration. */
  notManaged: (reason: string): LocalResponse => ({ ...local(503, "", reason, responseFlag.noRoute), close: true }),
  noHealthyUpstream: (reason: string): LocalResponse =>
    local(503, "no healthy upstream", reason, responseFlag.noHealthyUpstream),
  connectFailure: (reason: string, retried = false): LocalResponse =>
    local(
      503,
      noAnswer(retried, `remote connection failure, transport failure reason: ${reason}`),
      reason,
      retried
        ? `${responseFlag.upstreamConnectFailure},${responseFlag.retryLimit}`
        : responseFlag.upstreamConnectFailure,
    ),
  upstreamClosed: (reason: string, retried = false): LocalResponse =>
    local(
      503,
      noAnswer(retried, "connection termination"),
      reason,
      retried ? `${responseFlag.upstreamClosed},${responseFlag.retryLimit}` : responseFlag.upstreamClosed,
    ),
  /** The application's answer cannot be read, or ours cannot be said to it. */
  badUpstream: (reason: string): LocalResponse =>
    local(502, noAnswer(false, "protocol error"), reason, responseFlag.upstreamProtocolError),
  timeout: (): LocalResponse =>
    local(504, "upstream request timeout", "upstream request timeout", responseFlag.upstreamTimeout),
} as const;

/**
 * gRPC status of an HTTP status: grpc/doc/http-grpc-status-mapping.md, but 500 is UNAVAILABLE, as the Gateway API wants an
 * invalid backend answered, and 504 is DEADLINE_EXCEEDED.
 */
const grpcStatusOf: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: 14,
  500: 14,
  502: 14,
  503: 14,
  504: 4,
};

/** The head and body of a local answer: plain HTTP, or for gRPC a trailers-only response (gRPC over HTTP/2). */
export function renderLocalResponse(
  response: LocalResponse,
  isGrpc: boolean,
): { readonly head: HeaderField[]; readonly body: Uint8Array; readonly grpcStatus: string } {
  if (isGrpc) {
    const grpcStatus = String(grpcStatusOf[response.status] ?? 2);
    const head = [
      { name: ":status", value: "200" },
      { name: "content-type", value: "application/grpc" },
      { name: "grpc-status", value: grpcStatus },
      { name: "grpc-message", value: percentEncode(response.body.trim() || response.reason) },
    ];
    return { head, body: new Uint8Array(0), grpcStatus };
  }
  const body = Buffer.from(response.body);
  const contentType = body.length > 0 ? [{ name: "content-type", value: "text/plain" }] : [];
  const head = [
    { name: ":status", value: String(response.status) },
    ...contentType,
    { name: "content-length", value: String(body.length) },
    ...response.headers,
  ];
  return { head, body, grpcStatus: "" };
}

/** `grpc-message` is percent-encoded UTF-8. */
function percentEncode(text: string): string {
  return Array.from(Buffer.from(text), (byte) =>
    byte >= 0x20 && byte <= 0x7e && byte !== 0x25
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
  ).join("");
}
