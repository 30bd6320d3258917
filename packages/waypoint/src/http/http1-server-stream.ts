import {
  ErrorCode,
  type ByteChannel,
  type HeaderList,
  type Http1Headers,
  type Http1RequestHead,
  type Http1Writer,
  type Http2StreamHandler,
} from "@hairpin/wire";
import { BodyQueue } from "./body-queue.ts";
import { framingOf, listToHeaders, listToTrailers, pseudoField } from "./http1-heads.ts";
import {
  HttpStreamError,
  flushAfterTurn,
  writeBody,
  upgradeField,
  type HttpStream,
  type RespondOptions,
} from "./http-stream.ts";

/** What streams ask of their connection. */
export interface Http1ServerStreamOwner {
  /** The connection is to close after this exchange. */
  drains(): boolean;
  readOn(): void;
  /** The response was written to its end. */
  finished(): void;
  switched(): void;
}

/** What all streams of a connection share. */
export interface Http1ServerConnection {
  readonly channel: ByteChannel;
  readonly writer: Http1Writer;
  readonly owner: Http1ServerStreamOwner;
}

/** One request on an HTTP/1.1 connection, as its server. */
export class Http1ServerStream implements HttpStream {
  readonly body: BodyQueue = new BodyQueue();
  /** The request asks for websocket: a 101 turns the connection over to it. */
  readonly mayUpgrade: boolean;
  /** The request was received to its end (perhaps not delivered yet). */
  requestEnded = false;
  responded = false;
  responseEnded = false;
  keepAlive: boolean;
  readonly #channel: ByteChannel;
  readonly #writer: Http1Writer;
  readonly #head: Http1RequestHead;
  readonly #owner: Http1ServerStreamOwner;
  #switched = false;
  #bytesWritten = 0;

  constructor(connection: Http1ServerConnection, head: Http1RequestHead, mayUpgrade: boolean) {
    this.#channel = connection.channel;
    this.#writer = connection.writer;
    this.#head = head;
    this.#owner = connection.owner;
    this.keepAlive = head.keepAlive;
    this.mayUpgrade = mayUpgrade;
  }

  get bytesRead(): number {
    return this.body.bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  get bufferedBytes(): number {
    return this.#channel.bufferedBytes;
  }

  get closed(): boolean {
    return this.body.finished;
  }

  /** Both directions ended: a connection that closes now took nothing away. */
  get complete(): boolean {
    return this.responseEnded && this.requestEnded;
  }

  setHandler(handler: Http2StreamHandler): void {
    this.body.setHandler(handler);
  }

  pause(): void {
    this.body.pause();
    if (!this.closed && (!this.requestEnded || this.#switched)) this.#channel.pause();
  }

  resume(): void {
    if (this.body.resume() && !this.closed) this.#owner.readOn();
  }

  sendInformational(headers: HeaderList): void {
    if (this.closed || this.responded || this.#head.version === "1.0") return;
    this.#writer.informational(Number(pseudoField(headers, ":status")), listToHeaders(headers));
  }

  respond(headers: HeaderList, options: RespondOptions = {}): void {
    if (this.closed || this.responded) return;
    const status = Number(pseudoField(headers, ":status"));
    if (status === 101) this.#switchProtocols(headers);
    else this.#respond(status, headers, options);
  }

  write(chunk: Uint8Array): boolean {
    if (this.closed || this.responseEnded) return true;
    this.#bytesWritten += chunk.length;
    if (this.#switched) return this.#channel.write(chunk);
    return writeBody(this.#channel, "response", () => this.#writer.body(chunk)) ?? true;
  }

  end(): void {
    this.#finish(undefined);
  }

  sendTrailers(headers: HeaderList): void {
    this.#finish(listToTrailers(headers));
  }

  reset(errorCode: number): void {
    if (this.closed || (errorCode === ErrorCode.NO_ERROR && this.responseEnded)) return;
    this.#channel.destroy(new HttpStreamError("The exchange was reset", { code: "HTTP_STREAM_RESET" }));
  }

  destroy(error?: Error): void {
    if (this.closed) return;
    this.#channel.destroy(
      error ?? new HttpStreamError("The exchange was destroyed", { code: "HTTP_STREAM_DESTROYED" }),
    );
  }

  /** The connection is done with this stream. */
  closeWith(error: Error | undefined): void {
    if (error) this.body.finish(error);
    else this.body.discard();
  }

  #switchProtocols(headers: HeaderList): void {
    if (!this.mayUpgrade) throw new Error("101 to a request that asked for no upgrade");
    const fields = listToHeaders(headers);
    fields.append("connection", "upgrade");
    fields.append("upgrade", pseudoField(headers, upgradeField) || "websocket");
    this.#writer.responseHead({ status: 101, headers: fields, body: { kind: "none" }, requestMethod: "GET" });
    this.#writer.end();
    this.responded = true;
    this.#switched = true;
    this.#owner.switched();
  }

  #respond(status: number, headers: HeaderList, options: RespondOptions): void {
    const { version, method } = this.#head;
    const endStream = options.endStream ?? false;
    const fields = listToHeaders(headers);
    const bodiless = method === "HEAD" || status === 204 || status === 304;
    const framing = framingOf(headers, endStream, version === "1.0" ? { kind: "until-close" } : { kind: "chunked" });
    // A 204 announces nothing, not even an empty body (RFC 9110 §8.6), though some applications do.
    const body = status === 204 || (endStream && framing.kind === "none") ? noBody(bodiless) : framing;
    const keepAlive =
      this.keepAlive && options.close !== true && !this.#owner.drains() && (body.kind !== "until-close" || bodiless);
    if (!keepAlive) fields.append("connection", "close");
    else if (version === "1.0") fields.append("connection", "keep-alive");
    this.#writer.responseHead({ status, headers: fields, body, requestMethod: method, hold: !endStream });
    this.responded = true;
    this.keepAlive = keepAlive;
    // The request asked for another protocol and did not get it: its body is over.
    if (this.mayUpgrade) this.body.end(undefined);
    if (endStream) this.end();
    // A head goes out with the first bytes of its body if they come in this turn, and does not wait for them longer.
    else flushAfterTurn(this.#writer);
  }

  #finish(trailers: Http1Headers | undefined): void {
    if (this.closed || this.responseEnded || !this.responded) return;
    this.responseEnded = true;
    if (this.#switched) {
      this.#channel.end();
      return;
    }
    if (writeBody(this.#channel, "response", () => (this.#writer.end(trailers), true)) === true) this.#owner.finished();
  }
}

function noBody(bodiless: boolean): { readonly kind: "none" } | { readonly kind: "length"; readonly length: 0 } {
  return bodiless ? { kind: "none" } : { kind: "length", length: 0 };
}
