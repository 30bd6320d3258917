import { Http1Error } from "./errors.ts";
import { quote } from "./field-reader.ts";
import { type AnnouncedBody, announcesContent, readAnnouncedBody, readConnection } from "./framing.ts";
import type { Http1Headers } from "./headers.ts";
import { MessageReader } from "./message-reader.ts";
import type { BodyFraming, Http1Limits, Http1ResponseHandler, Http1ResponseHead, Http1Version } from "./message.ts";

interface StatusLine {
  readonly version: Http1Version;
  readonly status: number;
  readonly reason: string;
}

/** The request that a response answers. */
export interface ResponseContext {
  readonly method: string;
  /** The request asked for an upgrade; a 101 is refused otherwise. Default false. */
  readonly upgradeRequested?: boolean;
}

/**
 * Reads responses; as Http1RequestParser. `next` comes before each response, when its request is sent: a byte that answers
 * no request is `HTTP1_UNEXPECTED_RESPONSE`, and such a connection must never be used again. After a head with `tunnel`
 * the rest of the input is not HTTP and stays with the caller.
 */
export class Http1ResponseParser {
  readonly #handler: Http1ResponseHandler;
  readonly #reader: MessageReader;
  #context: ResponseContext = { method: "" };
  #line: StatusLine = { version: "1.1", status: 0, reason: "" };
  /** What `#line` was read from: most answers of a connection begin alike. */
  #lineText: string | undefined;
  #informational = 0;
  #tunnel = false;

  constructor(handler: Http1ResponseHandler, limits: Partial<Http1Limits> = {}) {
    this.#handler = handler;
    this.#reader = new MessageReader(
      {
        lineErrors: { control: "HTTP1_BAD_STATUS_LINE", tooLarge: "HTTP1_HEAD_TOO_LARGE", tooLargeStatus: 502 },
        skipsLeadingEmptyLine: false,
        startLine: (line) => {
          if (line === this.#lineText) return;
          this.#line = parseStatusLine(line);
          this.#lineText = line;
        },
        head: (headers) => this.#onHead(headers),
        body: (data) => this.#handler.onBody(data),
        end: (trailers) => this.#handler.onEnd(trailers),
      },
      limits,
    );
  }

  /** Returns how many bytes were consumed: all, unless a tunnel began. Throws Http1Error; every later call throws it again. */
  push(chunk: Uint8Array): number {
    const consumed = this.#reader.push(chunk);
    if (consumed === chunk.length || this.#tunnel) return consumed;
    throw this.#reader.fail(new Http1Error("HTTP1_UNEXPECTED_RESPONSE", "Bytes that answer no request"));
  }

  /** The connection ended: ends a body framed by the close, throws `HTTP1_TRUNCATED` when a response was due. */
  finish(): void {
    if (this.#reader.idle && !this.#reader.complete) {
      throw this.#reader.fail(new Http1Error("HTTP1_TRUNCATED", "Connection ended before the response"));
    }
    this.#reader.finish();
  }

  /** Begins the response to a request; allowed inside `onEnd`, then `push` goes on in the same chunk. */
  next(context: ResponseContext): void {
    if (this.#tunnel) throw new Error("The connection is a tunnel");
    this.#reader.next();
    this.#context = context;
    this.#informational = 0;
  }

  /** No response is due. */
  get complete(): boolean {
    return this.#reader.complete;
  }

  /** No byte of the response that is due was read yet. */
  get idle(): boolean {
    return this.#reader.idle && this.#informational === 0;
  }

  /** The framing of the body; undefined after a 1xx: the final response follows. */
  #onHead(headers: Http1Headers): BodyFraming | undefined {
    const { version, status, reason } = this.#line;
    const connection = readConnection(headers, version);
    const announced = readAnnouncedBody(headers, version);
    this.#tunnel = status === 101 || (this.#context.method === "CONNECT" && status >= 200 && status < 300);
    this.#checkBodyAllowed(announced);
    const body = responseBody(announced, status, this.#context.method, this.#tunnel);
    const head: Http1ResponseHead = {
      status,
      reason,
      version,
      headers,
      body,
      keepAlive: connection.keepAlive && body.kind !== "until-close" && !this.#tunnel,
      connectionTokens: connection.tokens,
      upgrade: connection.upgrade,
      tunnel: this.#tunnel,
    };
    if (status === 101) this.#checkUpgrade(head);
    if (status >= 200 || status === 101) {
      this.#handler.onHead(head);
      return body;
    }
    if (++this.#informational > this.#reader.limits.maxInformational) {
      throw new Http1Error(
        "HTTP1_TOO_MANY_INFORMATIONAL",
        `More than ${this.#reader.limits.maxInformational} 1xx responses`,
      );
    }
    this.#handler.onInformational(head);
    return undefined;
  }

  /** 1xx, 204 and 2xx to CONNECT end with their head (RFC 9112 §6.3); a sender that announces a body means otherwise. */
  #checkBodyAllowed(announced: AnnouncedBody): void {
    const { status } = this.#line;
    const bodiless = status < 200 || status === 204 || this.#tunnel;
    if (bodiless && announcesContent(announced)) {
      throw new Http1Error("HTTP1_BODY_NOT_ALLOWED", `Status ${status} with a body`);
    }
  }

  #checkUpgrade(head: Http1ResponseHead): void {
    if (this.#context.upgradeRequested !== true)
      throw new Http1Error("HTTP1_UNEXPECTED_RESPONSE", "101 to a request without Upgrade");
    if (head.upgrade.length === 0) throw new Http1Error("HTTP1_UNEXPECTED_RESPONSE", "101 that names no protocol");
  }
}

function responseBody(announced: AnnouncedBody, status: number, method: string, tunnel: boolean): BodyFraming {
  if (tunnel || method === "HEAD" || status < 200 || status === 204 || status === 304) return { kind: "none" };
  return announced.kind === "none" ? { kind: "until-close" } : announced;
}

/** `HTTP/1.x SP status [SP reason]`: many servers leave out the space before an empty reason. */
function parseStatusLine(line: string): StatusLine {
  const match = /^HTTP\/(\d\.\d) (\d{3})(?: ([^]*))?$/.exec(line);
  if (match === null) throw new Http1Error("HTTP1_BAD_STATUS_LINE", `Not a status line: ${quote(line)}`);
  const [, version, digits, reason] = match;
  if (version !== "1.1" && version !== "1.0")
    throw new Http1Error("HTTP1_BAD_VERSION", `HTTP/${version} is not supported`);
  const status = Number(digits);
  if (status < 100 || status > 599) throw new Http1Error("HTTP1_BAD_STATUS_LINE", `Status ${status} does not exist`);
  return { version, status, reason: reason ?? "" };
}
