import {
  Http1Error,
  Http1RequestParser,
  Http1Writer,
  type ByteChannel,
  type ByteChannelHandler,
  type Http1Headers,
  type Http1RequestHead,
} from "@hairpin/wire";
import type { Clock, Timer } from "@hairpin/shared/process";
import { asksForWebsocket, listToHeaders, requestToList, trailersToList } from "./http1-heads.ts";
import { Http1ServerStream, type Http1ServerConnection } from "./http1-server-stream.ts";
import { HttpStreamError, type OnHttpStream } from "./http-stream.ts";

export interface Http1ServerHandler {
  readonly onStream: OnHttpStream;
  /** Bytes that are no request; they were answered with `status`, and the connection closes. */
  onBadRequest(error: Error, status: number): void;
  /** The last event, once. */
  onClose(error: Error | undefined): void;
}

export interface Http1ServerOptions {
  /** From the first byte of a head to its last. Default 10 s. */
  readonly headTimeoutMs?: number;
  /** Between two requests, and before the first. Default 1 h, as Envoy. */
  readonly idleTimeoutMs?: number;
  /** While draining, in place of `idleTimeoutMs`: a request that comes within it is answered, as the last. Default 5 s. */
  readonly drainIdleMs?: number;
  /** After our last byte: how long the client may take to close, so that it can read that byte. Default 1 s. */
  readonly lingerMs?: number;
}

/** Bytes of an unwanted request body that are read and dropped so that the client can read our answer before the reset. */
const discardLimitBytes = 256 * 1024;

/**
 * Serves HTTP/1.1 on a connected channel, which it owns: one request at a time; pipelined ones wait their turn, unread.
 *
 * States: open (idle, or one exchange; bytes after its request are held and reading stops) → upgraded (a 101 was sent: the
 * bytes of both directions belong to that exchange) or → lingering (our direction ended; what comes is dropped until the
 * client ends too, or the linger is over) → closed.
 */
export class Http1Server implements ByteChannelHandler {
  readonly #channel: ByteChannel;
  readonly #handler: Http1ServerHandler;
  readonly #clock: Clock;
  readonly #options: Required<Http1ServerOptions>;
  readonly #parser: Http1RequestParser;
  readonly #writer: Http1Writer;
  readonly #connection: Http1ServerConnection;
  #state: "open" | "upgraded" | "lingering" | "closed" = "open";
  #stream: Http1ServerStream | undefined;
  /** Bytes that came after the current request: one read at the most. */
  #held: Buffer | undefined;
  /** The parser is being fed: what finishes an exchange meanwhile is looked at after it returned. */
  #reading = false;
  #clientEnded = false;
  #drains = false;
  #discarded = 0;
  #timer: Timer | undefined;
  /** The timer watches over a head that has begun; else over the time between requests. */
  #headTimer = false;
  #idleSince: number;

  constructor(
    channel: ByteChannel,
    components: { readonly handler: Http1ServerHandler; readonly clock: Clock },
    options: Http1ServerOptions = {},
  ) {
    this.#channel = channel;
    this.#handler = components.handler;
    this.#clock = components.clock;
    this.#options = {
      headTimeoutMs: 10_000,
      idleTimeoutMs: 60 * 60_000,
      drainIdleMs: 5000,
      lingerMs: 1000,
      ...options,
    };
    this.#writer = new Http1Writer(channel);
    const owner = {
      drains: () => this.#drains,
      readOn: () => this.#readOn(),
      finished: () => this.#exchangeFinished(),
      switched: () => this.#switched(),
    };
    this.#connection = { channel, writer: this.#writer, owner };
    this.#parser = new Http1RequestParser({
      onHead: (head) => this.#open(head),
      onBody: (chunk) => this.#stream?.body.data(chunk),
      onEnd: (trailers) => this.#requestEnded(trailers),
    });
    this.#idleSince = this.#clock.now();
    this.#watchIdle();
    channel.setHandler(this);
    channel.resume();
  }

  /**
   * Closes the connection after the current exchange or the next one, whose answer says so: a client in the habit of calling would meet an
   * end at once with its next request on the way. One that is silent for long is closed.
   */
  shutdown(): void {
    this.#drains = true;
    if (!this.#stream && this.#state === "open" && !this.#headTimer) this.#watchIdle();
  }

  destroy(error?: Error): void {
    this.#channel.destroy(error);
  }

  onData(chunk: Uint8Array): void {
    switch (this.#state) {
      case "open":
        if (this.#held !== undefined || this.#parser.complete) this.#hold(chunk);
        else this.#read(chunk);
        break;
      case "upgraded":
        this.#stream?.body.data(chunk);
        this.#pauseIfHeld();
        break;
      case "lingering":
        this.#discarded += chunk.length;
        if (this.#discarded > discardLimitBytes) this.#channel.destroy();
        break;
      case "closed":
        break;
      default:
        this.#state satisfies never;
    }
  }

  onEnd(): void {
    this.#clientEnded = true;
    const stream = this.#stream;
    if (this.#state === "upgraded") stream?.body.end(undefined);
    else if (!stream) this.#linger();
    else if (!this.#parser.complete)
      this.#channel.destroy(
        new HttpStreamError("The client ended the connection inside a request", { code: "HTTP_CONNECTION_CLOSED" }),
      );
    // A whole request was received: the client may still want its answer (half-close).
  }

  onDrain(): void {
    this.#stream?.body.handler?.onDrain();
  }

  onClose(error: Error | undefined): void {
    this.#state = "closed";
    this.#timer?.cancel();
    const stream = this.#stream;
    this.#stream = undefined;
    this.#held = undefined;
    stream?.closeWith(
      stream.complete && !error
        ? undefined
        : new HttpStreamError("The client closed the connection", { code: "HTTP_CONNECTION_CLOSED", cause: error }),
    );
    this.#handler.onClose(error);
  }

  /** As `#stream`, for where a call in between may have changed it. */
  get #current(): Http1ServerStream | undefined {
    return this.#stream;
  }

  /** Feeds the parser request by request: a loop, since a client may pipeline thousands that are all answered at once. */
  #read(chunk: Uint8Array): void {
    let rest: Uint8Array = chunk;
    this.#reading = true;
    try {
      while (rest.length > 0 && this.#state === "open" && !this.#parser.complete) {
        rest = rest.subarray(this.#parser.push(rest));
        this.#settle();
      }
    } catch (error) {
      // Anything but the parser's finding is a mistake of ours: the client is not told that it was its own.
      if (error instanceof Http1Error) this.#refuse(error);
      else this.#channel.destroy(error instanceof Error ? error : new Error(String(error)));
      return;
    } finally {
      this.#reading = false;
    }
    if (rest.length > 0 && this.#state === "open") this.#hold(rest);
    else if (rest.length > 0 && this.#state === "upgraded") this.#stream?.body.data(rest);
    this.#pauseIfHeld();
    if (!this.#stream && this.#state === "open" && !this.#parser.idle && !this.#headTimer) this.#watchHead();
  }

  /** Keeps bytes of a later request, or of an upgraded protocol; reading stops, so it is one read at the most. */
  #hold(bytes: Uint8Array): void {
    this.#held = this.#held === undefined ? Buffer.from(bytes) : Buffer.concat([this.#held, bytes]);
    this.#channel.pause();
  }

  #pauseIfHeld(): void {
    if (this.#stream && !this.#stream.body.empty) this.#channel.pause();
  }

  #open(head: Http1RequestHead): void {
    if (this.#headTimer) this.#timer?.cancel();
    const upgrade = asksForWebsocket(head);
    const endStream = head.body.kind === "none" || (head.body.kind === "length" && head.body.length === 0);
    const stream = new Http1ServerStream(this.#connection, head, upgrade);
    this.#stream = stream;
    this.#handler.onStream(stream, requestToList(head, upgrade), endStream);
  }

  #requestEnded(trailers: Http1Headers | undefined): void {
    const stream = this.#stream;
    if (!stream) return;
    stream.requestEnded = true;
    // After an upgrade request the body goes on with the other protocol, if the answer is 101.
    if (!stream.mayUpgrade) stream.body.end(trailersToList(trailers));
  }

  #readOn(): void {
    if (this.#held === undefined && this.#state !== "closed") this.#channel.resume();
  }

  /** A 101 was sent: what follows in both directions is not HTTP. */
  #switched(): void {
    this.#state = "upgraded";
    const held = this.#held;
    this.#held = undefined;
    if (held) this.#stream?.body.data(held);
    if (this.#clientEnded) this.#stream?.body.end(undefined);
    this.#pauseIfHeld();
    if (this.#stream?.body.empty === true) this.#channel.resume();
  }

  #exchangeFinished(): void {
    if (this.#reading || this.#state !== "open") return;
    this.#settle();
    this.#readHeld();
  }

  /** After a response ended: makes ready for the next request, or closes when there can be none. */
  #settle(): void {
    const stream = this.#stream;
    if (!stream?.responseEnded || this.#state !== "open") return;
    this.#stream = undefined;
    const reusable = this.#parser.complete && stream.keepAlive && !this.#drains;
    stream.closeWith(undefined);
    // What the owner did in onClose may have ended the connection.
    if (this.#state !== "open") return;
    if (!reusable || (this.#clientEnded && this.#held === undefined)) {
      this.#linger();
      return;
    }
    this.#parser.next();
    this.#idleSince = this.#clock.now();
    if (this.#headTimer) this.#watchIdle();
  }

  /** Goes on with what was held while the exchange before ran. */
  #readHeld(): void {
    if (this.#stream || this.#state !== "open") return;
    const held = this.#held;
    this.#held = undefined;
    if (held) this.#read(held);
    // Reading stays off while something is held.
    if (this.#held !== undefined || this.#state !== "open") return;
    const next = this.#current;
    if (this.#clientEnded && !next) this.#linger();
    else if (!next || next.body.empty) this.#channel.resume();
  }

  #refuse(reason: Http1Error): void {
    const { status } = reason;
    const stream = this.#stream;
    this.#stream = undefined;
    const streamError = new HttpStreamError(`Bad request: ${reason.message}`, {
      code: "HTTP_BAD_MESSAGE",
      cause: reason,
      status,
    });
    if (stream?.responded === true) {
      stream.closeWith(streamError);
      this.#channel.destroy(streamError);
      return;
    }
    const body = Buffer.from(`bad request: ${reason.message}\n`);
    const headers = listToHeaders([{ name: "content-type", value: "text/plain" }]);
    headers.append("connection", "close");
    this.#writer.responseHead({
      status,
      headers,
      body: { kind: "length", length: body.length },
      requestMethod: "GET",
      hold: true,
    });
    this.#writer.body(body);
    this.#writer.end();
    if (stream) stream.closeWith(streamError);
    else this.#handler.onBadRequest(reason, status);
    this.#linger();
  }

  /** Ends our direction and waits for the client's end: a close with unread bytes would reset what it has not read yet. */
  #linger(): void {
    if (this.#state === "lingering" || this.#state === "closed") return;
    this.#state = "lingering";
    this.#held = undefined;
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(this.#options.lingerMs, () => this.#channel.destroy(), { background: true });
    this.#channel.end();
    this.#channel.resume();
  }

  #watchHead(): void {
    this.#timer?.cancel();
    this.#headTimer = true;
    this.#timer = this.#clock.setTimer(
      this.#options.headTimeoutMs,
      () => {
        if (this.#stream || this.#state !== "open") return;
        this.#refuse(new Http1Error("HTTP1_TRUNCATED", "The head did not come in time", 408));
      },
      { background: true },
    );
  }

  /** One timer for the whole connection, which looks once an interval: setting one per request would cost more than parsing it. */
  #watchIdle(): void {
    this.#timer?.cancel();
    this.#headTimer = false;
    const { drainIdleMs, idleTimeoutMs } = this.#options;
    const limitMs = this.#drains ? drainIdleMs : idleTimeoutMs;
    const check = (): void => {
      const idleMs = this.#clock.now() - this.#idleSince;
      if (this.#state !== "open" || this.#headTimer) return;
      if (!this.#stream && idleMs >= limitMs) {
        this.#linger();
        return;
      }
      const nextMs = this.#stream ? limitMs : limitMs - idleMs;
      this.#timer = this.#clock.setTimer(nextMs, check, { background: true });
    };
    check();
  }
}
