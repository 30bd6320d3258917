import { constants, type Http2Stream } from "node:http2";
import type { ByteChannel, ByteChannelHandler } from "@hairpin/wire";

/** A stream of node:http2, of either role, as a channel. */
export function http2StreamChannel(stream: Http2Stream): ByteChannel {
  return new NodeStreamChannel(stream);
}

class NodeStreamChannel implements ByteChannel {
  bytesRead = 0;
  bytesWritten = 0;
  readonly #stream: Http2Stream;
  #error: Error | undefined;
  #readableEnded = false;

  constructor(stream: Http2Stream) {
    this.#stream = stream;
    stream.on("error", (error) => (this.#error ??= error));
    stream.pause();
  }

  get bufferedBytes(): number {
    return this.#stream.writableLength;
  }

  get closed(): boolean {
    return this.#stream.destroyed;
  }

  setHandler(handler: ByteChannelHandler): void {
    const stream = this.#stream;
    stream.on("data", (chunk: Buffer) => {
      this.bytesRead += chunk.length;
      handler.onData(chunk);
    });
    stream.on("end", () => {
      // node:http2 says 'end' to a reader of a stream that was reset or whose session was lost, too.
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) return;
      this.#readableEnded = true;
      handler.onEnd();
    });
    stream.on("drain", () => handler.onDrain());
    stream.on("close", () => handler.onClose(this.#closeReason()));
    stream.pause();
  }

  write(chunk: Uint8Array): boolean {
    this.bytesWritten += chunk.length;
    return this.#stream.write(Buffer.from(chunk));
  }

  end(): void {
    this.#stream.end();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  destroy(error?: Error): void {
    this.#error ??= error;
    this.#stream.destroy(error ?? new Error("destroyed by its owner"));
  }

  /** node:http2 reports CANCEL and a lost session by 'aborted' and 'close' only. */
  #closeReason(): Error | undefined {
    const { rstCode } = this.#stream;
    if (this.#error !== undefined || (this.#readableEnded && rstCode === constants.NGHTTP2_NO_ERROR))
      return this.#error;
    return new Error(`node:http2 closed the stream with code ${rstCode}`);
  }
}
