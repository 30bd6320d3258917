import { randomFillSync } from "node:crypto";

/** One position in a trace (W3C Trace Context level 1). */
export interface TraceContext {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hex digits, not all zero: `parent-id` on the wire. */
  readonly spanId: string;
  readonly sampled: boolean;
}

const allZero = /^0+$/;
const traceparentPattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Reads a `traceparent` header; undefined when it breaks the rules (§3.2), and then a new trace begins. */
export function parseTraceparent(text: string): TraceContext | undefined {
  if (text.length > 512) return undefined;
  const match = traceparentPattern.exec(text);
  if (!match) return undefined;
  const [, version, traceId = "", spanId = "", flags = "", rest] = match;
  // §4.3: version ff is invalid; version 00 ends after the flags, later ones may go on.
  if (version === "ff" || (version === "00" && rest !== undefined)) return undefined;
  if (allZero.test(traceId) || allZero.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** Always version 00: what we do not understand is not passed on (§3.2). */
export function formatTraceparent(context: TraceContext): string {
  return `00-${context.traceId}-${context.spanId}-${context.sampled ? "01" : "00"}`;
}

/** A new trace; random bytes, never all zero. */
export function createTraceContext(options: { readonly sampled?: boolean } = {}): TraceContext {
  return { traceId: randomHex(16), spanId: randomHex(8), sampled: options.sampled ?? false };
}

/** The next span of the same trace. */
export function createChildSpan(parent: TraceContext): TraceContext {
  return { traceId: parent.traceId, spanId: randomHex(8), sampled: parent.sampled };
}

/** Random bytes are drawn ahead: for 16 at a time the call costs ten times what the bytes do. None is used twice. */
const pool = Buffer.allocUnsafeSlow(4096);
let poolAt = pool.length;

function randomHex(bytes: number): string {
  if (poolAt + bytes > pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  const hex = pool.toString("hex", poolAt, poolAt + bytes);
  poolAt += bytes;
  return allZero.test(hex) ? randomHex(bytes) : hex;
}
