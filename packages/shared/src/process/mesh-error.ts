/** On whose side the fault lies, seen from this proxy: who connected to us, whom we dialled, or ourselves. */
export type ErrorOrigin = "downstream" | "upstream" | "internal";

export interface MeshErrorOptions {
  /** Stable, upper case with underscores (`HBONE_CONNECT_REFUSED`); documented in the README of the package that raises it. */
  readonly code: string;
  readonly origin: ErrorOrigin;
  /** May the same work be tried again? `if-reused`: only if it ran on a connection that had served before. Default false. */
  readonly retryable?: boolean | "if-reused";
  /** Plain values for logs; nothing secret. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** The error of rows 3 and up. The message names the values that were wrong, in sentence case and without a final period. */
export class MeshError extends Error {
  readonly code: string;
  readonly origin: ErrorOrigin;
  readonly retryable: boolean | "if-reused";
  readonly details: Readonly<Record<string, unknown>>;

  constructor(message: string, options: MeshErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code;
    this.origin = options.origin;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
  }
}

/** The stable code of any error: MeshError's, Node's (`ECONNREFUSED`), or `UNKNOWN`. */
export function errorCode(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" && code !== "" ? code : "UNKNOWN";
}

/** What was thrown, as one line of text; causes are appended with `: ` unless the message already ends with theirs. */
export function errorMessage(error: unknown): string {
  const parts: string[] = [];
  let next = error;
  for (let depth = 0; next !== undefined && depth < maxCauses; depth++) {
    const text = describeOne(next);
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    next = next instanceof Error ? next.cause : undefined;
  }
  return parts.join(": ");
}

/** A chain of causes is cut here: it may be circular. */
const maxCauses = 8;

function describeOne(error: unknown): string {
  if (error instanceof AggregateError && error.message === "")
    return error.errors.map((one) => describeOne(one)).join("; ");
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.replaceAll(/\s*\n\s*/g, " ");
}
