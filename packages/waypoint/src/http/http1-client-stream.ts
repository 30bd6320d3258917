import type { ByteChannel, HeaderList, Http1Headers, Http1Writer, Http2StreamHandler } from "@hairpin/wire";
import { BodyQueue } from "./body-queue.ts";
import { listToTrailers } from "./http1-heads.ts";
import { HttpStreamError, writeBody, type HttpStream } from "./http-stream.ts";

/** What streams ask of their connection. */
export interface Http1ClientStreamOwner {
  readOn(): void;
  requestEnded(): void;
  /** A paused body was delivered to its end. */
  delivered(): void;
}

/** What all streams of a connection share. */
export interface Http1ClientConnection {
  readonly channel: ByteChannel;
  readonly writer: Http1Writer;
  readonly owner: Http1ClientStreamOwner;
}

/** One request on a connection to an application. */
export class Http1ClientStream implements HttpStream {
  readonly body: BodyQueue = new BodyQueue();
  requestEnded = false;
  /** The response was received to its end (perhaps not delivered yet). */
  responseEnded = false;
  switched = false;
  /** The application sent something in answer. */
  answered = false;
  readonly #channel: ByteChannel;
  readonly #writer: Http1Writer;
  readonly #owner: Http1ClientStreamOwner;
  readonly #reused: boolean;
  #bytesWritten = 0;

  /** `reused`: the connection has served a request before. */
  constructor(connection: Http1ClientConnection, reused: boolean) {
    this.#channel = connection.channel;
    this.#writer = connection.writer;
    this.#owner = connection.owner;
    this.#reused = reused;
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

  setHandler(handler: Http2StreamHandler): void {
    this.body.setHandler(handler);
  }

  pause(): void {
    this.body.pause();
    if (!this.closed) this.#channel.pause();
  }

  resume(): void {
    if (!this.body.resume() || this.closed) return;
    if (this.responseEnded && !this.switched) this.#owner.delivered();
    else this.#owner.readOn();
  }

  sendInformational(_headers: HeaderList): void {
    throw new Error("A client sends no responses");
  }

  respond(_headers: HeaderList): void {
    throw new Error("A client sends no responses");
  }

  write(chunk: Uint8Array): boolean {
    if (this.closed) return true;
    this.#bytesWritten += chunk.length;
    if (this.switched) return this.#channel.write(chunk);
    return writeBody(this.#channel, "request", () => this.#writer.body(chunk)) ?? true;
  }

  end(): void {
    this.#finish(undefined);
  }

  sendTrailers(headers: HeaderList): void {
    this.#finish(listToTrailers(headers));
  }

  reset(_errorCode: number): void {
    this.destroy(new HttpStreamError("The exchange was reset", { code: "HTTP_STREAM_RESET" }));
  }

  destroy(error?: Error): void {
    if (this.closed) return;
    this.#channel.destroy(
      error ?? new HttpStreamError("The exchange was destroyed", { code: "HTTP_STREAM_DESTROYED" }),
    );
  }

  /** The connection is gone. A response that was received whole is still delivered whole. */
  connectionClosed(cause: Error | undefined): void {
    if (this.responseEnded && !(this.switched && cause)) {
      this.body.finish(undefined);
      return;
    }
    if (cause instanceof HttpStreamError) {
      this.body.finish(cause);
      return;
    }
    // A kept-alive connection that dies without a byte of answer was most likely closed before it saw the request.
    const retryable = this.#reused && !this.answered ? "idempotent" : false;
    this.body.finish(
      new HttpStreamError("The application closed the connection", {
        code: "HTTP_CONNECTION_CLOSED",
        retryable,
        cause,
      }),
    );
  }

  #finish(trailers: Http1Headers | undefined): void {
    if (this.closed) return;
    if (this.switched) {
      this.#channel.end();
      return;
    }
    if (this.requestEnded) return;
    this.requestEnded = true;
    if (writeBody(this.#channel, "request", () => (this.#writer.end(trailers), true)) === true)
      this.#owner.requestEnded();
  }
}
