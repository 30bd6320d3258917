import { Http1Error } from "./errors.ts";
import { quote } from "./field-reader.ts";
import { announcesContent, readAnnouncedBody, readConnection } from "./framing.ts";
import type { Http1Headers } from "./headers.ts";
import { MessageReader } from "./message-reader.ts";
import type { BodyFraming, Http1Limits, Http1RequestHandler, Http1Version } from "./message.ts";
import { type RequestTarget, parseTarget } from "./request-target.ts";
import { formatHost, isMethod, parseHost } from "./syntax.ts";

interface RequestLine {
  readonly method: string;
  readonly target: string;
  readonly parsedTarget: RequestTarget;
  readonly version: Http1Version;
}

/**
 * Reads requests: bytes in, events out. Stops at the end of every message, so that bytes of a next request, or of an
 * upgraded protocol or a CONNECT tunnel, stay with the caller until it says `next()`.
 */
export class Http1RequestParser {
  readonly #handler: Http1RequestHandler;
  readonly #reader: MessageReader;
  #line: RequestLine | undefined;

  constructor(handler: Http1RequestHandler, limits: Partial<Http1Limits> = {}) {
    this.#handler = handler;
    this.#reader = new MessageReader(
      {
        lineErrors: { control: "HTTP1_BAD_REQUEST_LINE", tooLarge: "HTTP1_HEAD_TOO_LARGE", tooLargeStatus: 431 },
        skipsLeadingEmptyLine: true,
        startLine: (line) => {
          this.#line = parseRequestLine(line);
        },
        head: (headers) => this.#onHead(headers),
        body: (data) => this.#handler.onBody(data),
        end: (trailers) => this.#handler.onEnd(trailers),
      },
      limits,
    );
    this.#reader.next();
  }

  /** Returns how many bytes were consumed: all, unless a message ended. Throws Http1Error; every later call throws it again. */
  push(chunk: Uint8Array): number {
    return this.#reader.push(chunk);
  }

  /** The connection ended. Throws `HTTP1_TRUNCATED` inside a message. */
  finish(): void {
    this.#reader.finish();
  }

  /** Begins the next message; allowed inside `onEnd`, then `push` goes on in the same chunk. */
  next(): void {
    this.#reader.next();
  }

  /** The message ended and `next` was not called yet. */
  get complete(): boolean {
    return this.#reader.complete;
  }

  /** No byte of the current message was read yet: the connection may be closed here without harm. */
  get idle(): boolean {
    return this.#reader.idle;
  }

  #onHead(headers: Http1Headers): BodyFraming {
    const { method, target, parsedTarget, version } = this.#line as RequestLine;
    const connection = readConnection(headers, version);
    const body = readAnnouncedBody(headers, version);
    if ((method === "CONNECT" || method === "TRACE") && announcesContent(body)) {
      throw new Http1Error("HTTP1_BODY_NOT_ALLOWED", `${method} with a body`);
    }
    this.#handler.onHead({
      method,
      target,
      targetForm: parsedTarget.form,
      path: parsedTarget.path,
      authority: readAuthority(headers, version, parsedTarget),
      version,
      headers,
      body,
      keepAlive: connection.keepAlive,
      connectionTokens: connection.tokens,
      upgrade: connection.upgrade,
      expectContinue: readExpect(headers, version) && announcesContent(body),
    });
    return method === "CONNECT" ? { kind: "none" } : body;
  }
}

/** `method SP target SP HTTP/1.x`, single spaces. */
function parseRequestLine(line: string): RequestLine {
  const first = line.indexOf(" ");
  const last = line.lastIndexOf(" ");
  // Also what HTTP/0.9 looks like, which has no version.
  if (first <= 0 || last === first)
    throw new Http1Error("HTTP1_BAD_REQUEST_LINE", `Not a request line: ${quote(line)}`);
  const method = line.slice(0, first);
  if (!isMethod(method)) throw new Http1Error("HTTP1_BAD_METHOD", `Bad method ${quote(method)}`);
  const version = line.slice(last + 1);
  if (version === "HTTP/1.1" || version === "HTTP/1.0") {
    const target = line.slice(first + 1, last);
    return {
      method,
      target,
      parsedTarget: parseTarget(method, target),
      version: version === "HTTP/1.1" ? "1.1" : "1.0",
    };
  }
  if (!/^HTTP\/\d\.\d$/.test(version))
    throw new Http1Error("HTTP1_BAD_REQUEST_LINE", `Not a request line: ${quote(line)}`);
  throw new Http1Error("HTTP1_BAD_VERSION", `${version} is not supported`, 505);
}

/** Host and the authority of the target, which must agree (RFC 9112 §3.2.2 lets a proxy choose; two could choose differently). */
function readAuthority(headers: Http1Headers, version: Http1Version, target: RequestTarget): string | undefined {
  if (headers.isRepeated("host")) throw new Http1Error("HTTP1_DUPLICATE_HOST", "Host repeated");
  const hostField = headers.get("host");
  if (hostField === undefined) {
    if (version === "1.1") throw new Http1Error("HTTP1_MISSING_HOST", "HTTP/1.1 request without Host");
    return target.authority && formatHost(target.authority);
  }
  const host = parseHost(hostField);
  const { authority, defaultPort } = target;
  if (authority === undefined) return formatHost(host);
  // In CONNECT some clients leave the port out of Host; in absolute form the scheme's own port may be named or not.
  const samePort = host.port === authority.port || (host.port ?? defaultPort) === (authority.port ?? defaultPort);
  const portLeftOut = target.form === "authority" && host.port === undefined;
  if (host.host !== authority.host || !(samePort || portLeftOut)) {
    throw new Http1Error(
      "HTTP1_HOST_MISMATCH",
      `Host ${quote(hostField)} is not the target's ${quote(formatHost(authority))}`,
    );
  }
  return formatHost(authority);
}

/** `100-continue` is the only expectation there is (RFC 9110 §10.1.1). HTTP/1.0 has none. */
function readExpect(headers: Http1Headers, version: Http1Version): boolean {
  if (!headers.has("expect") || version === "1.0") return false;
  const expectations = headers.getAll("expect");
  if (expectations.length > 1 || expectations[0]?.toLowerCase() !== "100-continue") {
    throw new Http1Error("HTTP1_BAD_EXPECT", `Unknown expectation ${quote(expectations.join(", "))}`, 417);
  }
  return true;
}
