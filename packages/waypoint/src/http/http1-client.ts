import {
  Http1ResponseParser,
  Http1Writer,
  type ByteChannel,
  type ByteChannelHandler,
  type HeaderList,
  type Http1Headers,
  type Http1ResponseHead,
} from "@hairpin/wire";
import { Http1ClientStream, type Http1ClientConnection } from "./http1-client-stream.ts";
import { framingOf, listToHeaders, pseudoField, responseToList, trailersToList } from "./http1-heads.ts";
import { HttpStreamError, flushAfterTurn, upgradeField, type HttpStream } from "./http-stream.ts";

export interface Http1ClientHandler {
  /** The exchange ended well; `request` may be called again. */
  onIdle(): void;
  /** The last event, once. */
  onClose(): void;
}

/**
 * Speaks HTTP/1.1 to an application over a connected channel, which it owns: one request at a time, kept alive between.
 *
 * States: idle → busy (`request`) → idle when both directions ended and the connection may be kept, or → switched (a 101 came:
 * the bytes of both directions are that exchange's) → closed. A response that ends before its request leads to closed.
 */
export class Http1Client implements ByteChannelHandler {
  readonly #channel: ByteChannel;
  readonly #handler: Http1ClientHandler;
  readonly #writer: Http1Writer;
  readonly #parser: Http1ResponseParser;
  #stream: Http1ClientStream | undefined;
  readonly #connection: Http1ClientConnection;
  #reused = false;
  #keepAlive = true;
  #closed = false;

  constructor(channel: ByteChannel, handler: Http1ClientHandler) {
    this.#channel = channel;
    this.#handler = handler;
    this.#writer = new Http1Writer(channel);
    const owner = {
      readOn: () => channel.resume(),
      requestEnded: () => this.#exchangeFinished(),
      delivered: () => this.#exchangeFinished(),
    };
    this.#connection = { channel, writer: this.#writer, owner };
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
    return !this.#closed && !this.#channel.closed && this.#keepAlive && this.#stream === undefined;
  }

  /**
   * Sends a request; set the stream's handler in the same turn. Throws, with nothing sent and the connection still idle, when
   * the head cannot be expressed in HTTP/1.1 (Http1Error) or the connection is not idle.
   */
  request(headers: HeaderList, options: { readonly endStream?: boolean } = {}): HttpStream {
    if (!this.idle)
      throw new HttpStreamError("The connection is busy or closed", {
        code: "HTTP_CONNECTION_CLOSED",
        retryable: true,
      });
    const method = pseudoField(headers, ":method");
    const endStream = options.endStream ?? false;
    const upgrade = pseudoField(headers, upgradeField);
    const fields = listToHeaders(headers, pseudoField(headers, ":authority"));
    if (upgrade !== "") {
      fields.append("connection", "upgrade");
      fields.append("upgrade", upgrade);
    }
    this.#writer.requestHead({
      method,
      target: pseudoField(headers, ":path"),
      headers: fields,
      body: upgrade === "" ? framingOf(headers, endStream, { kind: "chunked" }) : { kind: "none" },
      hold: !endStream,
    });
    this.#parser.next({ method, upgradeRequested: upgrade !== "" });
    const stream = new Http1ClientStream(this.#connection, this.#reused);
    this.#stream = stream;
    this.#reused = true;
    if (endStream) stream.end();
    // A head goes out with the first bytes of its body if they come in this turn. It must not wait for them longer: a client
    // with `Expect: 100-continue` sends none before the application answered.
    else flushAfterTurn(this.#writer);
    return stream;
  }

  destroy(error?: Error): void {
    this.#channel.destroy(error);
  }

  onData(chunk: Uint8Array): void {
    const stream = this.#stream;
    if (stream) stream.answered = true;
    if (stream?.switched === true) stream.body.data(chunk);
    else this.#feed(chunk);
    if (this.#stream && !this.#stream.body.empty) this.#channel.pause();
  }

  onEnd(): void {
    const stream = this.#stream;
    this.#keepAlive = false;
    if (stream?.switched === true) {
      stream.responseEnded = true;
      stream.body.end(undefined);
      return;
    }
    try {
      this.#parser.finish();
    } catch (error) {
      this.#channel.destroy(error instanceof Error ? error : undefined);
      return;
    }
    this.#channel.end();
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
      if (consumed < chunk.length) this.#stream?.body.data(chunk.subarray(consumed));
    } catch (error) {
      // Also bytes that answer no request: such a connection cannot be trusted any more.
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

  /** After each of: request ended, response received, response delivered. Ends the exchange when all three are so. */
  #exchangeFinished(): void {
    const stream = this.#stream;
    if (!stream?.responseEnded || stream.switched || !stream.body.empty) return;
    if (!stream.requestEnded) {
      // Answered before the request was through: what the application made of the rest is unknown.
      this.#keepAlive = false;
      return;
    }
    this.#stream = undefined;
    stream.body.finish(undefined);
    if (this.#closed) return;
    if (this.#keepAlive) {
      this.#channel.resume();
      this.#handler.onIdle();
    } else {
      this.#channel.end();
    }
  }
}
