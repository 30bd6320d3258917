import { MeshError } from "../process/index.ts";

export type ApiErrorCode =
  | "API_ALREADY_EXISTS"
  | "API_CONFLICT"
  | "API_EXPIRED"
  | "API_FORBIDDEN"
  | "API_INVALID"
  | "API_KIND_UNKNOWN"
  | "API_NOT_FOUND"
  | "API_OVERLOADED"
  | "API_UNAUTHORIZED"
  | "API_UNAVAILABLE";

/** What the API server (or the way to it) answered instead of what was asked. `code` is one of `API_*`. */
export class ApiError extends MeshError {
  declare readonly code: ApiErrorCode;

  /** 0: no answer came. */
  readonly httpStatus: number;
  /** How long the server asks us to stay away. */
  readonly retryAfterMs: number | undefined;
  /** A 404 that names an object; without a name it is the kind that is not there. */
  readonly namesObject: boolean;

  constructor(
    code: ApiErrorCode,
    message: string,
    options: {
      readonly httpStatus?: number;
      readonly retryAfterMs?: number | undefined;
      readonly namesObject?: boolean;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, { code, origin: "upstream", ...(options.cause === undefined ? {} : { cause: options.cause }) });
    this.httpStatus = options.httpStatus ?? 0;
    this.retryAfterMs = options.retryAfterMs;
    this.namesObject = options.namesObject ?? false;
  }
}

/** Kubernetes' `Status`, the body of every refusal. */
interface ApiStatus {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: { readonly name?: string; readonly retryAfterSeconds?: number };
}

const codeOfReason: Readonly<Record<string, ApiErrorCode>> = {
  AlreadyExists: "API_ALREADY_EXISTS",
  Expired: "API_EXPIRED",
  Gone: "API_EXPIRED",
};

const codeOfHttpStatus: Readonly<Record<number, ApiErrorCode>> = {
  400: "API_INVALID",
  401: "API_UNAUTHORIZED",
  403: "API_FORBIDDEN",
  404: "API_NOT_FOUND",
  409: "API_CONFLICT",
  410: "API_EXPIRED",
  413: "API_INVALID",
  422: "API_INVALID",
  429: "API_OVERLOADED",
  503: "API_OVERLOADED",
};

/** From a `Status` (body of an answer, or an ERROR event of a watch). `what` says what was tried. */
export function apiErrorFromStatus(what: string, httpStatus: number, body: unknown, retryAfterMs?: number): ApiError {
  const status: ApiStatus = typeof body === "object" && body !== null ? body : {};
  const code = codeOfReason[status.reason ?? ""] ?? codeOfHttpStatus[httpStatus] ?? "API_UNAVAILABLE";
  const seconds = status.details?.retryAfterSeconds;
  return new ApiError(code, `${what} was answered ${httpStatus}: ${status.message ?? "(no reason given)"}`, {
    httpStatus,
    retryAfterMs: retryAfterMs ?? (seconds === undefined ? undefined : seconds * 1000),
    namesObject: status.details?.name !== undefined,
  });
}
