import { BodyReader } from "./body-reader.ts";
import { Http1Error } from "./errors.ts";
import { FieldReader } from "./field-reader.ts";
import type { Http1Headers } from "./headers.ts";
import { findHeadEnd, type LineErrors, LineReader } from "./line-reader.ts";
import { type BodyFraming, type Http1Limits, defaultHttp1Limits } from "./message.ts";

/** What differs between requests and responses. */
export interface MessageRules {
  readonly lineErrors: LineErrors;
  /** One empty line before a request is skipped (RFC 9112 §2.2). */
  readonly skipsLeadingEmptyLine: boolean;
  startLine(line: string): void;
  /** Judges and delivers the head. The framing of the body that follows, or undefined: another head follows (1xx). */
  head(headers: Http1Headers): BodyFraming | undefined;
  body(data: Buffer): void;
  end(trailers: Http1Headers | undefined): void;
}

/**
 * The state machine under both parsers: complete → (`next`) start-line → fields → body → complete. A 1xx head leads from
 * fields back to start-line. Nothing but unfinished lines is held.
 */
export class MessageReader {
  readonly #rules: MessageRules;
  readonly #limits: Http1Limits;
  readonly #lines = new LineReader();
  #state: "start-line" | "fields" | "body" | "complete" = "complete";
  #skippedEmptyLine = false;
  #fields: FieldReader;
  #body: BodyReader | undefined;
  readonly #onBody = (data: Buffer): void => this.#rules.body(data);
  #framing: BodyFraming = { kind: "none" };
  #failure: Http1Error | undefined;

  constructor(rules: MessageRules, limits: Partial<Http1Limits>) {
    this.#rules = rules;
    this.#limits = { ...defaultHttp1Limits, ...limits };
    this.#fields = new FieldReader(this.#limits.maxHeaderCount);
  }

  get limits(): Http1Limits {
    return this.#limits;
  }

  get complete(): boolean {
    return this.#state === "complete";
  }

  /** Before the first byte of a message. */
  get idle(): boolean {
    return this.#state === "complete" || (this.#state === "start-line" && !this.#lines.partial);
  }

  next(): void {
    if (this.#state !== "complete") throw new Error("The message before is not complete");
    this.#skippedEmptyLine = false;
    this.#beginHead();
  }

  /** Reads until the chunk or a message ends; returns how much was read. */
  push(chunk: Uint8Array): number {
    if (this.#failure !== undefined) throw this.#failure;
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let offset = 0;
    try {
      while (offset < bytes.length && this.#state !== "complete") {
        offset = this.#state === "body" ? this.#readBody(bytes, offset) : this.#readHead(bytes, offset);
      }
    } catch (error) {
      throw this.fail(error);
    }
    return offset;
  }

  /** The input ended. */
  finish(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#state === "body" && this.#framing.kind === "until-close") return this.#end();
    if (this.idle) return;
    throw this.fail(new Http1Error("HTTP1_TRUNCATED", `Connection ended inside a message (${this.#state})`));
  }

  /** Remembers the first error: nothing after it can be trusted. Errors of the caller's handlers are not ours to keep. */
  fail(error: unknown): unknown {
    if (error instanceof Http1Error) this.#failure ??= error;
    return error;
  }

  #beginHead(): void {
    this.#state = "start-line";
    this.#lines.sectionBytes = 0;
    this.#fields = new FieldReader(this.#limits.maxHeaderCount);
  }

  /** Nearly every head lies in one chunk: then it becomes text as a whole, which costs less than line by line. */
  #readHead(bytes: Buffer, offset: number): number {
    if (this.#state !== "start-line" || this.#lines.partial) return this.#readHeadLine(bytes, offset);
    const end = findHeadEnd(bytes, offset, Math.min(bytes.length, offset + this.#limits.maxHeadBytes));
    if (end < 0) return this.#readHeadLine(bytes, offset);
    const text = bytes.toString("latin1", offset, end - 2);
    let lineEnd = text.indexOf("\r\n");
    this.#headLine(text.slice(0, lineEnd));
    for (let start = lineEnd + 2; start < text.length; start = lineEnd + 2) {
      lineEnd = text.indexOf("\r\n", start);
      this.#fields.add(text, start, lineEnd);
    }
    this.#endHead();
    return end;
  }

  #readHeadLine(bytes: Buffer, offset: number): number {
    const errors = this.#state === "start-line" ? this.#rules.lineErrors : fieldLineErrors;
    const next = this.#lines.read(bytes, offset, this.#limits.maxHeadBytes, errors);
    if (next < 0) return bytes.length;
    const line = this.#lines.line;
    if (line !== "") {
      this.#headLine(line);
    } else if (this.#state === "fields") {
      this.#endHead();
    } else if (this.#rules.skipsLeadingEmptyLine && !this.#skippedEmptyLine) {
      this.#skippedEmptyLine = true;
      this.#lines.sectionBytes = 0;
    } else {
      this.#headLine(line);
    }
    return next;
  }

  #headLine(line: string): void {
    if (this.#state === "fields") return this.#fields.add(line);
    this.#rules.startLine(line);
    this.#state = "fields";
  }

  #endHead(): void {
    const framing = this.#rules.head(this.#fields.headers);
    if (framing === undefined) return this.#beginHead();
    this.#framing = framing;
    if (framing.kind === "none") return this.#end();
    this.#body = new BodyReader(framing, this.#limits);
    this.#state = "body";
    if (this.#body.done) this.#end();
  }

  #readBody(bytes: Buffer, offset: number): number {
    const body = this.#body as BodyReader;
    const next = body.read(bytes, offset, this.#onBody);
    if (body.done) this.#end();
    return next;
  }

  #end(): void {
    const trailers = this.#body?.trailers;
    this.#body = undefined;
    this.#state = "complete";
    this.#rules.end(trailers);
  }
}

const fieldLineErrors: LineErrors = {
  control: "HTTP1_BAD_HEADER_VALUE",
  tooLarge: "HTTP1_HEAD_TOO_LARGE",
  tooLargeStatus: 431,
};
