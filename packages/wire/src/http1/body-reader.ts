import { Http1Error } from "./errors.ts";
import { FieldReader, quote } from "./field-reader.ts";
import type { Http1Headers } from "./headers.ts";
import { type LineErrors, LineReader } from "./line-reader.ts";
import type { BodyFraming, Http1Limits } from "./message.ts";

/**
 * Fields that must not come after the body: they frame, route, authenticate or steer the message, and whoever merges
 * trailers into headers would obey them (RFC 9110 §6.5.1).
 */
const forbiddenTrailers: ReadonlySet<string> = new Set([
  "authorization",
  "cache-control",
  "connection",
  "content-encoding",
  "content-length",
  "content-range",
  "content-type",
  "cookie",
  "expect",
  "forwarded",
  "host",
  "keep-alive",
  "location",
  "max-forwards",
  "pragma",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "range",
  "set-cookie",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "www-authenticate",
]);

export function isForbiddenTrailer(lowerName: string): boolean {
  return forbiddenTrailers.has(lowerName);
}

const chunkLineErrors: LineErrors = {
  control: "HTTP1_BAD_CHUNK",
  tooLarge: "HTTP1_CHUNK_LINE_TOO_LARGE",
  tooLargeStatus: 400,
};
const trailerErrors: LineErrors = {
  control: "HTTP1_BAD_HEADER_VALUE",
  tooLarge: "HTTP1_TRAILERS_TOO_LARGE",
  tooLargeStatus: 431,
};

/**
 * States of a chunked body: size-line → data → data-end (CR) → data-end-lf → size-line …, after the size 0 trailers → done.
 * A body with a length, or up to the close, is one `data`.
 */
type State = "size-line" | "data" | "data-end" | "data-end-lf" | "trailers" | "done";

/** Reads one body. Passes data on as it comes and holds nothing but an unfinished line. */
export class BodyReader {
  readonly #limits: Http1Limits;
  readonly #lines = new LineReader();
  readonly #chunked: boolean;
  #state: State;
  #remaining: number;
  #extensionBytes = 0;
  #trailers: FieldReader | undefined;

  constructor(framing: BodyFraming, limits: Http1Limits) {
    this.#limits = limits;
    this.#chunked = framing.kind === "chunked";
    this.#remaining = framing.kind === "length" ? framing.length : framing.kind === "until-close" ? Infinity : 0;
    this.#state = this.#chunked ? "size-line" : this.#remaining > 0 ? "data" : "done";
  }

  get done(): boolean {
    return this.#state === "done";
  }

  /** Trailer fields, once done; undefined when there were none. */
  get trailers(): Http1Headers | undefined {
    return this.#trailers && this.#trailers.headers.size > 0 ? this.#trailers.headers : undefined;
  }

  /** Reads on from `offset` until the chunk or the body ends; returns the offset reached. */
  read(chunk: Buffer, offset: number, onData: (data: Buffer) => void): number {
    while (offset < chunk.length && this.#state !== "done") offset = this.#step(chunk, offset, onData);
    return offset;
  }

  #step(chunk: Buffer, offset: number, onData: (data: Buffer) => void): number {
    switch (this.#state) {
      case "data":
        return this.#readData(chunk, offset, onData);
      case "size-line":
        return this.#readSizeLine(chunk, offset);
      case "trailers":
        return this.#readTrailer(chunk, offset);
      case "data-end":
      case "data-end-lf": {
        const expected = this.#state === "data-end" ? 0x0d : 0x0a;
        if (chunk[offset] !== expected) throw new Http1Error("HTTP1_BAD_CHUNK", "Chunk data is not followed by CRLF");
        this.#state = this.#state === "data-end" ? "data-end-lf" : "size-line";
        return offset + 1;
      }
      case "done":
      default:
        return offset;
    }
  }

  #readData(chunk: Buffer, offset: number, onData: (data: Buffer) => void): number {
    const end = Math.min(chunk.length, offset + this.#remaining);
    this.#remaining -= end - offset;
    if (this.#remaining === 0) this.#state = this.#chunked ? "data-end" : "done";
    onData(offset === 0 && end === chunk.length ? chunk : chunk.subarray(offset, end));
    return end;
  }

  #readSizeLine(chunk: Buffer, offset: number): number {
    const next = this.#lines.read(chunk, offset, this.#limits.maxChunkLineBytes, chunkLineErrors);
    if (next < 0) return chunk.length;
    this.#lines.sectionBytes = 0;
    const { size, extensionBytes } = parseChunkLine(this.#lines.line);
    this.#extensionBytes += extensionBytes;
    if (this.#extensionBytes > this.#limits.maxChunkExtensionBytes) {
      throw new Http1Error("HTTP1_CHUNK_LINE_TOO_LARGE", "Too many bytes of chunk extensions");
    }
    this.#remaining = size;
    this.#state = size > 0 ? "data" : "trailers";
    return next;
  }

  #readTrailer(chunk: Buffer, offset: number): number {
    const next = this.#lines.read(chunk, offset, this.#limits.maxTrailerBytes, trailerErrors);
    if (next < 0) return chunk.length;
    if (this.#lines.line === "") {
      for (const [name] of this.#trailers?.headers.lowerCased() ?? []) {
        if (isForbiddenTrailer(name)) throw new Http1Error("HTTP1_FORBIDDEN_TRAILER", `Field ${name} in trailers`);
      }
      this.#state = "done";
      return next;
    }
    this.#trailers ??= new FieldReader(this.#limits.maxHeaderCount);
    this.#trailers.add(this.#lines.line);
    return next;
  }
}

/** `;name[=value]`…, a value being a token or a quoted string (RFC 9112 §7.1.1). The line is short: `maxChunkLineBytes`. */
const chunkExtensions =
  /^(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)*$/;

/** `size[;extension]`: hexadecimal digits only, then nothing or extensions, without spaces around them (RFC 9112 §7.1). */
function parseChunkLine(line: string): { size: number; extensionBytes: number } {
  let size = 0;
  let index = 0;
  for (; index < line.length; index++) {
    const digit = hexDigit(line.charCodeAt(index));
    if (digit < 0) break;
    size = size * 16 + digit;
  }
  const bad = (reason: string): Http1Error => new Http1Error("HTTP1_BAD_CHUNK", `${reason}: ${quote(line)}`);
  if (index === 0) throw bad("Chunk without size");
  if (index > 16 || !Number.isSafeInteger(size)) throw bad("Chunk size too large");
  if (index < line.length && !chunkExtensions.test(line.slice(index))) throw bad("Bad chunk size or extension");
  return { size, extensionBytes: line.length - index };
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
