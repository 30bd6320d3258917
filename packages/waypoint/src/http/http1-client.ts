import {
  Http1ResponseParser,
  Http1Writer,
  type ByteChannel,
  type ByteChannelHandler,
  type HeaderList,
  type Http1Headers,
  type Http1ResponseHead,
  type Http2StreamHandler,
} from "@hairpin/wire";
import { BodyQueue } from "./body-queue.ts";
import { framingOf, listToHeaders, responseToList, trailersToList } from "./http1-heads.ts";
import { HttpStreamError, upgradeField, type HttpStream } from "./http-stream.ts";

export interface Http1ClientHandler {
  /** The exchange ended well; `request` may be called again. */
  onIdle(): void;
  /** The last event, once. */
  onClose(): void;
}

/** Methods whose requests without a body say so (RFC 9110 §8.6). */
const bodyMethods = new Set(["POST", "PUT", "PATCH"]);

/** Speaks HTTP/1.1 to an application over a connected channel, which it owns: one request at a time, kept alive between. */
export class Http1Client implements ByteChannelHandler {
  readonly #channel: ByteChannel;
  readonly #handler: Http1ClientHandler;
  readonly #writer: Http1Writer;
  readonly #parser: Http1ResponseParser;
  #stream: ClientStream | undefined;
  #requests = 0;
  #keepAlive = true;
  #closed = false;

  constructor(channel: ByteChannel, handler: Http1ClientHandler) {
    this.#channel = channel;
    this.#handler = handler;
    this.#writer = new Http1Writer(channel);
    this.#parser = new Http1ResponseParser({
      onInformational: (head) => this.#stream?.body.handler?.onInformational?.(responseToList(head)),
      onHead: (head) => this.#responseHead(head),
      onBody: (chunk) => this.#stream?.body.data(chunk),
      onEnd: (trailers) => this.#responseEnded(trailers),
    });
    channel.setHandler(this);
    channel.resume();
  }

  /** True when `request` may be called. */
  get idle(): boolean {
    return !this.#closed && this.#keepAlive && this.#stream === undefined;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Sends a request; set the stream's handler in the same turn. Throws when not idle. */
  request(headers: HeaderList, options: { readonly endStream?: boolean } = {}): HttpStream {
    if (!this.idle)
      throw new HttpStreamError("The connection is busy or closed", {
        code: "HTTP_CONNECTION_CLOSED",
        retryable: true,
      });
    const method = valueOf(headers, ":method");
    const endStream = options.endStream ?? false;
    const upgrade = headers.find(({ name }) => name === upgradeField)?.value;
    const framing = framingOf(headers, endStream, { kind: "chunked" });
    const body =
      framing.kind === "none" && bodyMethods.has(method) ? ({ kind: "length", length: 0 } as const) : framing;
    const fields = listToHeaders([{ name: "host", value: valueOf(headers, ":authority") }, ...headers]);
    if (upgrade !== undefined) {
      fields.append("connection", "upgrade");
      fields.append("upgrade", upgrade);
    }
    const stream = new ClientStream(this.#channel, this.#writer, this.#requests > 0, {
      readOn: () => this.#channel.resume(),
      finished: () => this.#exchangeFinished(),
    });
    this.#stream = stream;
    this.#requests++;
    this.#parser.next({ method, upgradeRequested: upgrade !== undefined });
    this.#writer.requestHead({
      method,
      target: valueOf(headers, ":path"),
      headers: fields,
      body: upgrade === undefined ? body : { kind: "none" },
      hold: !endStream && upgrade === undefined,
    });
    if (upgrade !== undefined) stream.upgradeSent();
    else if (endStream) stream.end();
    return stream;
  }

  destroy(error?: Error): void {
    this.#channel.destroy(error);
  }

  onData(chunk: Uint8Array): void {
    const stream = this.#stream;
    if (stream) stream.answered = true;
    if (stream?.switched === true) {
      stream.body.data(chunk);
    } else {
      this.#feed(chunk);
    }
    if (this.#stream && !this.#stream.body.empty) this.#channel.pause();
  }

  onEnd(): void {
    const stream = this.#stream;
    this.#keepAlive = false;
    if (stream?.switched === true) {
      stream.body.end(undefined);
      return;
    }
    try {
      this.#parser.finish();
    } catch (error) {
      this.#channel.destroy(error instanceof Error ? error : undefined);
      return;
    }
    if (this.#stream?.responseEnded === false)
      this.#channel.destroy(
        new HttpStreamError("The application closed the connection without an answer", {
          code: "HTTP_CONNECTION_CLOSED",
        }),
      );
    else this.#channel.end();
  }

  onDrain(): void {
    this.#stream?.body.handler?.onDrain();
  }

  onClose(error: Error | undefined): void {
    this.#closed = true;
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.connectionClosed(error);
    this.#handler.onClose();
  }

  #feed(chunk: Uint8Array): void {
    try {
      const consumed = this.#parser.push(chunk);
      if (consumed === chunk.length) return;
      const rest = chunk.subarray(consumed);
      if (this.#stream?.switched === true) this.#stream.body.data(rest);
      // Bytes after a complete response belong to no request: the connection cannot be trusted any more.
      else
        this.#channel.destroy(
          new HttpStreamError("The application sent bytes after its response", { code: "HTTP_BAD_MESSAGE" }),
        );
    } catch (error) {
      this.#channel.destroy(
        new HttpStreamError("The application's response cannot be read", { code: "HTTP_BAD_MESSAGE", cause: error }),
      );
    }
  }

  #responseHead(head: Http1ResponseHead): void {
    const stream = this.#stream;
    if (!stream) return;
    if (!head.keepAlive) this.#keepAlive = false;
    if (head.status === 101) {
      stream.switched = true;
      this.#keepAlive = false;
    }
    const endStream =
      !stream.switched && (head.body.kind === "none" || (head.body.kind === "length" && head.body.length === 0));
    stream.body.handler?.onHeaders?.(responseToList(head), endStream);
  }

  #responseEnded(trailers: Http1Headers | undefined): void {
    const stream = this.#stream;
    if (!stream || stream.switched) return;
    stream.responseEnded = true;
    stream.body.end(trailersToList(trailers));
    this.#exchangeFinished();
  }

  #exchangeFinished(): void {
    const stream = this.#stream;
    if (!stream?.responseEnded || stream.switched) return;
    if (!stream.requestEnded) {
      // Answered before the request was through: the rest of the body has nowhere to go.
      this.#keepAlive = false;
      if (stream.body.empty) this.#channel.end();
      return;
    }
    if (!stream.body.empty) {
      stream.onDelivered = () => this.#exchangeFinished();
      return;
    }
    this.#stream = undefined;
    stream.closeWith(undefined);
    if (this.#keepAlive) {
      this.#channel.resume();
      this.#handler.onIdle();
    } else {
      this.#channel.end();
    }
  }
}

interface ClientStreamOwner {
  readOn(): void;
  finished(): void;
}

/** One request on a connection to an application. */
class ClientStream implements HttpStream {
  readonly body: BodyQueue = new BodyQueue();
  requestEnded = false;
  responseEnded = false;
  switched = false;
  /** The application sent something in answer. */
  answered = false;
  /** Called once when a paused body was delivered to its end. */
  onDelivered: (() => void) | undefined;
  readonly #channel: ByteChannel;
  readonly #writer: Http1Writer;
  readonly #reused: boolean;
  readonly #owner: ClientStreamOwner;
  #closed = false;
  #bytesWritten = 0;

  constructor(channel: ByteChannel, writer: Http1Writer, reused: boolean, owner: ClientStreamOwner) {
    this.#channel = channel;
    this.#writer = writer;
    this.#reused = reused;
    this.#owner = owner;
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

  setHandler(handler: Http2StreamHandler): void {
    this.body.setHandler(handler);
  }

  pause(): void {
    this.body.pause();
    if (!this.#closed) this.#channel.pause();
  }

  resume(): void {
    if (!this.body.resume()) return;
    const delivered = this.onDelivered;
    this.onDelivered = undefined;
    delivered?.();
    if (!this.#closed && !this.responseEnded) this.#owner.readOn();
  }

  sendInformational(_headers: HeaderList): void {
    throw new Error("A client sends no responses");
  }

  respond(_headers: HeaderList): void {
    throw new Error("A client sends no responses");
  }

  /** The head asked for an upgrade: what is written before the answer would be lost, so the caller waits for the 101. */
  upgradeSent(): void {
    this.#writer.end();
    this.requestEnded = true;
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
    this.body.handler?.onClose(error);
  }

  connectionClosed(cause: Error | undefined): void {
    if (this.responseEnded && this.requestEnded && this.body.empty) {
      this.closeWith(undefined);
      return;
    }
    // A kept-alive connection that dies without a byte of answer was closed by the application before it saw the request.
    const retryable = this.#reused && !this.answered;
    this.closeWith(
      cause instanceof HttpStreamError && !retryable
        ? cause
        : new HttpStreamError("The application closed the connection", {
            code: "HTTP_CONNECTION_CLOSED",
            retryable,
            cause,
          }),
    );
  }

  #finish(trailers: Http1Headers | undefined): void {
    if (this.#closed || (this.requestEnded && !this.switched)) return;
    if (this.switched) {
      this.#channel.end();
      return;
    }
    this.requestEnded = true;
    this.#guard(() => this.#writer.end(trailers));
    this.#owner.finished();
  }

  /** A body that is not as long as its head announced cannot be mended: the connection ends. */
  #guard<T>(write: () => T): T | undefined {
    try {
      return write();
    } catch (error) {
      this.#channel.destroy(
        new HttpStreamError("The request's body is not what its head announced", {
          code: "HTTP_BAD_MESSAGE",
          cause: error,
        }),
      );
      return undefined;
    }
  }
}

function valueOf(headers: HeaderList, name: string): string {
  return headers.find((field) => field.name === name)?.value ?? "";
}
