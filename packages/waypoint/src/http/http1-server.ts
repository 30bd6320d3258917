import {
  Http1RequestParser,
  Http1Writer,
  type ByteChannel,
  type ByteChannelHandler,
  type HeaderField,
  type HeaderList,
  type Http1Headers,
  type Http1RequestHead,
  type Http2StreamHandler,
} from "@hairpin/wire";
import { BodyQueue } from "./body-queue.ts";
import { framingOf, listToHeaders, requestToList, trailersToList } from "./http1-heads.ts";
import { HttpStreamError, upgradeField, type HttpStream, type OnHttpStream } from "./http-stream.ts";

export interface Http1ServerHandler {
  readonly onStream: OnHttpStream;
  /** A request that cannot be read one way only; it was answered 400 and the connection closes. */
  onBadRequest(error: Error): void;
  /** The last event, once. */
  onClose(error: Error | undefined): void;
}

/** Bytes of an unwanted request body that are read and dropped so that the client can read our answer before the reset. */
const discardLimitBytes = 256 * 1024;

/**
 * Serves HTTP/1.1 on a connected channel, which it owns: one request at a time; pipelined ones wait their turn, unread.
 */
export class Http1Server implements ByteChannelHandler {
  readonly #channel: ByteChannel;
  readonly #handler: Http1ServerHandler;
  readonly #parser: Http1RequestParser;
  readonly #writer: Http1Writer;
  #stream: ServerStream | undefined;
  /** Bytes that came after the current request. */
  #held: Uint8Array | undefined;
  #closing = false;
  #discarding = -1;

  constructor(channel: ByteChannel, handler: Http1ServerHandler) {
    this.#channel = channel;
    this.#handler = handler;
    this.#writer = new Http1Writer(channel);
    this.#parser = new Http1RequestParser({
      onHead: (head) => this.#open(head),
      onBody: (chunk) => this.#stream?.body.data(chunk),
      onEnd: (trailers) => this.#requestEnded(trailers),
    });
    channel.setHandler(this);
    channel.resume();
  }

  /** Closes the connection after the current exchange, at once when there is none. */
  shutdown(): void {
    this.#closing = true;
    if (!this.#stream) this.#channel.end();
  }

  destroy(error?: Error): void {
    this.#channel.destroy(error);
  }

  onData(chunk: Uint8Array): void {
    if (this.#discarding >= 0) {
      this.#discarding += chunk.length;
      if (this.#discarding > discardLimitBytes) this.#channel.destroy();
    } else if (this.#stream?.switched === true) {
      this.#stream.body.data(chunk);
      this.#pauseIfHeld();
    } else if (this.#parser.complete) {
      this.#hold(chunk);
    } else {
      this.#feed(chunk);
    }
  }

  onEnd(): void {
    this.#closing = true;
    const stream = this.#stream;
    if (stream?.switched === true) {
      stream.body.end(undefined);
      return;
    }
    if (!stream) {
      this.#channel.end();
      return;
    }
    if (!stream.requestEnded)
      this.#channel.destroy(
        new HttpStreamError("The client ended the connection inside a request", { code: "HTTP_CONNECTION_CLOSED" }),
      );
  }

  onDrain(): void {
    this.#stream?.body.handler?.onDrain();
  }

  onClose(error: Error | undefined): void {
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.closeWith(
      stream.finished
        ? undefined
        : new HttpStreamError("The client closed the connection", { code: "HTTP_CONNECTION_CLOSED", cause: error }),
    );
    this.#handler.onClose(error);
  }

  #feed(chunk: Uint8Array): void {
    let consumed: number;
    try {
      consumed = this.#parser.push(chunk);
    } catch (error) {
      this.#refuse(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if (consumed < chunk.length) this.#hold(chunk.subarray(consumed));
    this.#pauseIfHeld();
  }

  /** Keeps bytes of a later request, or of an upgraded protocol; reading stops, so it is one read at the most. */
  #hold(bytes: Uint8Array): void {
    const held = this.#held ?? new Uint8Array(0);
    const joined = new Uint8Array(held.length + bytes.length);
    joined.set(held);
    joined.set(bytes, held.length);
    this.#held = joined;
    this.#channel.pause();
  }

  #pauseIfHeld(): void {
    if (this.#stream && !this.#stream.body.empty) this.#channel.pause();
  }

  #open(head: Http1RequestHead): void {
    const endStream = head.body.kind === "none" || (head.body.kind === "length" && head.body.length === 0);
    const stream = new ServerStream(this.#channel, this.#writer, head, {
      closing: () => this.#closing,
      readOn: () => this.#readOn(),
      finished: () => this.#exchangeFinished(),
      switched: () => this.#switched(),
    });
    this.#stream = stream;
    this.#handler.onStream(stream, requestToList(head), endStream);
  }

  #requestEnded(trailers: Http1Headers | undefined): void {
    const stream = this.#stream;
    if (!stream) return;
    stream.requestEnded = true;
    // After an upgrade request the body goes on with the other protocol, if the answer is 101.
    if (!stream.mayUpgrade) stream.body.end(trailersToList(trailers));
    if (stream.responseEnded) this.#exchangeFinished();
  }

  #readOn(): void {
    if (this.#held === undefined || this.#discarding >= 0) this.#channel.resume();
  }

  /** A 101 was sent: what follows in both directions is not HTTP. */
  #switched(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held) this.#stream?.body.data(held);
    this.#channel.resume();
  }

  #exchangeFinished(): void {
    const stream = this.#stream;
    if (!stream || !stream.responseEnded) return;
    if (stream.switched) return;
    if (!stream.requestEnded || this.#closing || !stream.keepAlive) {
      this.#closing = true;
      this.#discarding = 0;
      this.#held = undefined;
      this.#channel.end();
      this.#channel.resume();
    }
    if (!stream.requestEnded) return;
    this.#stream = undefined;
    stream.closeWith(undefined);
    if (!this.#closing) this.#nextRequest();
  }

  #nextRequest(): void {
    this.#parser.next();
    const held = this.#held;
    this.#held = undefined;
    if (held) this.#feed(held);
    if (this.#held === undefined && this.#stream?.body.empty !== false) this.#channel.resume();
  }

  #refuse(error: Error): void {
    this.#handler.onBadRequest(error);
    const stream = this.#stream;
    this.#closing = true;
    if (stream) {
      this.#channel.destroy(
        new HttpStreamError(`Bad request: ${error.message}`, { code: "HTTP_BAD_MESSAGE", cause: error }),
      );
      return;
    }
    const body = Buffer.from(`bad request: ${error.message}\n`);
    const headers = listToHeaders([{ name: "content-type", value: "text/plain" }]);
    headers.append("connection", "close");
    this.#writer.responseHead({
      status: 400,
      headers,
      body: { kind: "length", length: body.length },
      requestMethod: "GET",
    });
    this.#writer.body(body);
    this.#writer.end();
    this.#discarding = 0;
    this.#channel.end();
    this.#channel.resume();
  }
}

interface ServerStreamOwner {
  closing(): boolean;
  readOn(): void;
  finished(): void;
  switched(): void;
}

/** One request on an HTTP/1.1 connection. */
class ServerStream implements HttpStream {
  readonly body: BodyQueue = new BodyQueue();
  readonly mayUpgrade: boolean;
  requestEnded = false;
  responseEnded = false;
  switched = false;
  keepAlive: boolean;
  readonly #channel: ByteChannel;
  readonly #writer: Http1Writer;
  readonly #head: Http1RequestHead;
  readonly #owner: ServerStreamOwner;
  #responded = false;
  #closed = false;
  #bytesWritten = 0;

  constructor(channel: ByteChannel, writer: Http1Writer, head: Http1RequestHead, owner: ServerStreamOwner) {
    this.#channel = channel;
    this.#writer = writer;
    this.#head = head;
    this.#owner = owner;
    this.keepAlive = head.keepAlive;
    this.mayUpgrade = head.upgrade.includes("websocket");
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
    return this.#closed;
  }

  get finished(): boolean {
    return this.responseEnded && this.requestEnded;
  }

  setHandler(handler: Http2StreamHandler): void {
    this.body.setHandler(handler);
  }

  pause(): void {
    this.body.pause();
    if (!this.requestEnded || this.switched) this.#channel.pause();
  }

  resume(): void {
    if (this.body.resume() && (!this.requestEnded || this.switched)) this.#owner.readOn();
  }

  sendInformational(headers: HeaderList): void {
    if (this.#closed || this.#responded || this.#head.version === "1.0") return;
    this.#writer.informational(statusOf(headers), listToHeaders(headers));
  }

  respond(headers: HeaderList, options: { readonly endStream?: boolean } = {}): void {
    if (this.#closed) return;
    this.#responded = true;
    const status = statusOf(headers);
    const fields = listToHeaders(headers);
    if (status === 101) {
      fields.append("connection", "upgrade");
      fields.append("upgrade", headers.find(({ name }) => name === upgradeField)?.value ?? "websocket");
      this.#writer.responseHead({ status, headers: fields, body: { kind: "none" }, requestMethod: this.#head.method });
      this.#writer.end();
      this.switched = true;
      this.#owner.switched();
      return;
    }
    // The request asked for another protocol and did not get it: its body is over.
    if (this.mayUpgrade) this.body.end(undefined);
    const endStream = options.endStream ?? false;
    const unframed = this.#head.version === "1.0" ? ({ kind: "until-close" } as const) : ({ kind: "chunked" } as const);
    const bodiless = this.#head.method === "HEAD" || status === 204 || status === 304;
    const framing = framingOf(headers, endStream, unframed);
    const body = endStream && framing.kind === "none" && !bodiless ? ({ kind: "length", length: 0 } as const) : framing;
    if (body.kind === "until-close" || this.#owner.closing()) this.keepAlive = false;
    if (!this.keepAlive) fields.append("connection", "close");
    else if (this.#head.version === "1.0") fields.append("connection", "keep-alive");
    this.#writer.responseHead({ status, headers: fields, body, requestMethod: this.#head.method, hold: !endStream });
    if (endStream) this.end();
  }

  write(chunk: Uint8Array): boolean {
    if (this.#closed) return true;
    this.#bytesWritten += chunk.length;
    if (this.switched) return this.#channel.write(chunk);
    return this.#guard(() => this.#writer.body(chunk)) ?? true;
  }

  end(): void {
    this.#finish(undefined);
  }

  sendTrailers(headers: HeaderList): void {
    this.#finish(listToHeaders(headers));
  }

  reset(_errorCode: number): void {
    if (!this.#closed)
      this.#channel.destroy(new HttpStreamError("The exchange was reset", { code: "HTTP_STREAM_RESET" }));
  }

  destroy(error?: Error): void {
    if (!this.#closed)
      this.#channel.destroy(
        error ?? new HttpStreamError("The exchange was destroyed", { code: "HTTP_STREAM_DESTROYED" }),
      );
  }

  closeWith(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.body.clear();
    this.body.handler?.onClose(error);
  }

  #finish(trailers: Http1Headers | undefined): void {
    if (this.#closed || this.responseEnded) return;
    this.responseEnded = true;
    if (this.switched) {
      this.#channel.end();
      return;
    }
    this.#guard(() => this.#writer.end(trailers));
    this.#owner.finished();
  }

  /** A body that is not as long as its head announced cannot be mended: the connection ends. */
  #guard<T>(write: () => T): T | undefined {
    try {
      return write();
    } catch (error) {
      this.#channel.destroy(
        new HttpStreamError("The response's body is not what its head announced", {
          code: "HTTP_BAD_MESSAGE",
          cause: error,
        }),
      );
      return undefined;
    }
  }
}

function statusOf(headers: readonly HeaderField[]): number {
  return Number(headers.find(({ name }) => name === ":status")?.value);
}
