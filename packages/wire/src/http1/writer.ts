import { isForbiddenTrailer } from "./body-reader.ts";
import { Http1Error } from "./errors.ts";
import { quote } from "./field-reader.ts";
import { Http1Headers } from "./headers.ts";
import type { BodyFraming, Http1Version } from "./message.ts";
import { reasonPhrase } from "./reason-phrase.ts";
import { isFieldValue, isMethod, isTargetText, isToken } from "./syntax.ts";

/** Where the bytes go: a ByteChannel, or anything with its `write`. The chunk is borrowed. */
export interface ByteSink {
  write(chunk: Uint8Array): boolean;
}

export interface RequestHeadToWrite {
  readonly method: string;
  readonly target: string;
  /** Without content-length and transfer-encoding: those follow from `body`. */
  readonly headers: Http1Headers;
  readonly body: BodyFraming;
  /** Keeps the head, to send it in one write with the first body bytes, or at `flush` or `end`. */
  readonly hold?: boolean;
}

export interface ResponseHeadToWrite {
  readonly status: number;
  /** Default: the registered phrase. */
  readonly reason?: string;
  /** Without content-length and transfer-encoding: those follow from `body`. */
  readonly headers: Http1Headers;
  /** To HEAD, and for 304: what a GET would have had; no body bytes follow. */
  readonly body: BodyFraming;
  /** Of the request that is answered: it decides whether a body follows. */
  readonly requestMethod: string;
  /** To a client of HTTP/1.0 a chunked body goes out as until-close instead. Default "1.1". */
  readonly requestVersion?: Http1Version;
  readonly hold?: boolean;
}

/** One piece of a chunked body with its size line, or a held head and the bytes after it. Shared: a sink takes bytes at once. */
const scratch: Buffer = Buffer.allocUnsafeSlow(256 * 1024);
const maxPieceBytes = 128 * 1024;

/**
 * Writes messages, one after another, into a sink. Framing fields are the writer's: it refuses heads that bring their own,
 * and bodies that are longer or shorter than announced, so what is written can never disagree with what follows. Throws
 * Http1Error before anything of an invalid head is written.
 */
export class Http1Writer {
  readonly #sink: ByteSink;
  #framing: BodyFraming | undefined;
  #remaining = 0;
  /** Latin-1. */
  #held: string | undefined;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  requestHead(head: RequestHeadToWrite): void {
    this.#requireNoMessage();
    const { method, target, body } = head;
    if (!isMethod(method)) throw new Http1Error("HTTP1_BAD_METHOD", `Bad method ${quote(method)}`);
    if (!isTargetText(target)) throw new Http1Error("HTTP1_BAD_TARGET", `Bad request target ${quote(target)}`);
    if (body.kind === "until-close")
      throw new Http1Error("HTTP1_WRITER_STATE", "A request body cannot end with the connection");
    if (method === "CONNECT" && body.kind !== "none")
      throw new Http1Error("HTTP1_BODY_NOT_ALLOWED", "CONNECT with a body");
    // RFC 9110 §8.6: methods that usually have a body say so when there is none.
    const announced = body.kind === "none" && /^(POST|PUT|PATCH)$/.test(method) ? emptyBody : body;
    this.#begin(
      `${method} ${target} HTTP/1.1\r\n${fieldLines(head.headers)}${framingLine(announced)}\r\n`,
      body,
      head.hold,
    );
  }

  responseHead(head: ResponseHeadToWrite): void {
    this.#requireNoMessage();
    const { status, headers, requestMethod } = head;
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      if (status !== 101) throw new Http1Error("HTTP1_BAD_STATUS_LINE", `Status ${status} is not final`);
    }
    const tunnel = status === 101 || (requestMethod === "CONNECT" && status < 300);
    const forOldClient = head.requestVersion === "1.0" && head.body.kind === "chunked";
    const body: BodyFraming = forOldClient ? { kind: "until-close" } : head.body;
    const bodiless = tunnel || status === 204 || status === 304 || requestMethod === "HEAD";
    if ((tunnel || status === 204) && body.kind !== "none") {
      throw new Http1Error("HTTP1_BODY_NOT_ALLOWED", `Status ${status} with a body`);
    }
    const announced = body.kind === "none" && !bodiless ? emptyBody : body;
    const close = announced.kind === "until-close" && !bodiless && !saysClose(headers) ? "connection: close\r\n" : "";
    const lines = `${statusLine(status, head.reason)}${fieldLines(headers)}${framingLine(announced)}${close}\r\n`;
    this.#begin(lines, bodiless ? { kind: "none" } : body, head.hold);
  }

  /** A 1xx other than 101. Not for clients of HTTP/1.0. */
  informational(status: number, headers: Http1Headers = new Http1Headers()): void {
    this.#requireNoMessage();
    if (status < 100 || status > 199 || status === 101)
      throw new Http1Error("HTTP1_BAD_STATUS_LINE", `Status ${status} is not 1xx`);
    this.#writeText(`${statusLine(status, undefined)}${fieldLines(headers)}\r\n`);
  }

  /** Borrowed, as by `ByteChannel.write`: false means wait for the sink's drain. */
  body(chunk: Uint8Array): boolean {
    const framing = this.#requireMessage();
    if (chunk.length === 0) return true;
    if (framing.kind === "none" || (framing.kind === "length" && chunk.length > this.#remaining)) {
      throw new Http1Error(
        "HTTP1_BODY_LENGTH_MISMATCH",
        `More body than announced, by ${chunk.length - this.#remaining} bytes`,
      );
    }
    this.#remaining -= framing.kind === "length" ? chunk.length : 0;
    if (framing.kind !== "chunked") return this.#writeAfterHead(chunk);
    let accepted = true;
    for (let offset = 0; offset < chunk.length; offset += maxPieceBytes) {
      accepted = this.#writeChunk(chunk.subarray(offset, offset + maxPieceBytes));
    }
    return accepted;
  }

  /** Ends the message. Trailers go out after a chunked body and are dropped after any other. */
  end(trailers?: Http1Headers): void {
    const framing = this.#requireMessage();
    if (this.#remaining > 0) {
      throw new Http1Error(
        "HTTP1_BODY_LENGTH_MISMATCH",
        `Body ends ${this.#remaining} bytes short of what was announced`,
      );
    }
    const last = framing.kind === "chunked" ? `0\r\n${trailerLines(trailers)}\r\n` : "";
    this.#framing = undefined;
    if (last === "") return this.flush();
    this.#writeAfterHead(Buffer.from(last, "latin1"));
  }

  /** Sends a head that is held. */
  flush(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) this.#writeText(held);
  }

  #begin(head: string, framing: BodyFraming, hold: boolean | undefined): void {
    this.#framing = framing;
    this.#remaining = framing.kind === "length" ? framing.length : 0;
    if (hold === true) this.#held = head;
    else this.#writeText(head);
  }

  #writeText(text: string): void {
    if (text.length > scratch.length) this.#sink.write(Buffer.from(text, "latin1"));
    else this.#sink.write(scratch.subarray(0, scratch.write(text, "latin1")));
  }

  /** Size line, data and line end in one write: a copy costs less than three system calls. */
  #writeChunk(piece: Uint8Array): boolean {
    const size = this.#copyHeld(32 + piece.length);
    const dataStart = size + scratch.write(`${piece.length.toString(16)}\r\n`, size, "latin1");
    scratch.set(piece, dataStart);
    const dataEnd = dataStart + piece.length;
    return this.#sink.write(scratch.subarray(0, dataEnd + scratch.write("\r\n", dataEnd, "latin1")));
  }

  #writeAfterHead(bytes: Uint8Array): boolean {
    if (this.#held === undefined) return this.#sink.write(bytes);
    const start = this.#copyHeld(bytes.length);
    if (start === 0) return this.#sink.write(bytes);
    scratch.set(bytes, start);
    return this.#sink.write(scratch.subarray(0, start + bytes.length));
  }

  /** Puts a held head at the start of the scratch if `following` bytes fit behind it, and sends it alone otherwise. */
  #copyHeld(following: number): number {
    const held = this.#held;
    if (held === undefined) return 0;
    if (held.length + following > scratch.length) {
      this.flush();
      return 0;
    }
    this.#held = undefined;
    return scratch.write(held, "latin1");
  }

  #requireMessage(): BodyFraming {
    if (this.#framing === undefined) throw new Http1Error("HTTP1_WRITER_STATE", "No message has begun");
    return this.#framing;
  }

  #requireNoMessage(): void {
    if (this.#framing !== undefined) throw new Http1Error("HTTP1_WRITER_STATE", "The message before has not ended");
  }
}

const emptyBody: BodyFraming = { kind: "length", length: 0 };

function statusLine(status: number, reason: string | undefined): string {
  if (reason !== undefined && !isFieldValue(reason))
    throw new Http1Error("HTTP1_BAD_STATUS_LINE", `Bad reason ${quote(reason)}`);
  return `HTTP/1.1 ${status} ${reason ?? reasonPhrase(status)}\r\n`;
}

function framingLine(body: BodyFraming): string {
  if (body.kind === "chunked") return "transfer-encoding: chunked\r\n";
  if (body.kind !== "length") return "";
  if (!Number.isSafeInteger(body.length) || body.length < 0) {
    throw new Http1Error("HTTP1_BAD_CONTENT_LENGTH", `Bad body length ${body.length}`);
  }
  return `content-length: ${body.length}\r\n`;
}

function saysClose(headers: Http1Headers): boolean {
  return headers.getAll("connection").some((value) => /(^|,)\s*close\s*(,|$)/i.test(value));
}

function fieldLines(headers: Http1Headers): string {
  let lines = "";
  for (let index = 0; index < headers.size; index++) {
    const lowerName = headers.lowerNameAt(index);
    if (lowerName === "content-length" || lowerName === "transfer-encoding") {
      throw new Http1Error("HTTP1_WRITER_STATE", `The writer makes ${lowerName} itself`);
    }
    lines += fieldLine(headers.nameAt(index), headers.valueAt(index));
  }
  return lines;
}

function trailerLines(trailers: Http1Headers | undefined): string {
  let lines = "";
  for (const [name, value] of trailers ?? []) {
    if (isForbiddenTrailer(name.toLowerCase()))
      throw new Http1Error("HTTP1_FORBIDDEN_TRAILER", `Field ${name} in trailers`);
    lines += fieldLine(name, value);
  }
  return lines;
}

/** Rejects what would end the line early: response splitting begins with a CR in a value. */
function fieldLine(name: string, value: string): string {
  if (!isToken(name)) throw new Http1Error("HTTP1_BAD_HEADER_NAME", `Bad field name ${quote(name)}`);
  if (!isFieldValue(value)) throw new Http1Error("HTTP1_BAD_HEADER_VALUE", `Bad value of ${name}: ${quote(value)}`);
  return `${name}: ${value}\r\n`;
}
