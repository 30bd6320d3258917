import type { Socket } from "node:net";
import type { ByteChannel, ByteChannelHandler } from "../../byte-channel.ts";

/** The plainest channel over a connected socket (made with allowHalfOpen): for tests against real peers. */
export function socketChannel(socket: Socket): ByteChannel {
  return new PlainSocketChannel(socket);
}

class PlainSocketChannel implements ByteChannel {
  bytesRead = 0;
  bytesWritten = 0;
  readonly #socket: Socket;
  #error: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.pause();
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  get closed(): boolean {
    return this.#socket.destroyed;
  }

  setHandler(handler: ByteChannelHandler): void {
    this.#socket.on("data", (chunk: Buffer) => {
      this.bytesRead += chunk.length;
      handler.onData(chunk);
      chunk.fill(0xee);
    });
    this.#socket.on("end", () => handler.onEnd());
    this.#socket.on("drain", () => handler.onDrain());
    this.#socket.on("error", (error) => {
      this.#error = error;
    });
    this.#socket.on("close", () => handler.onClose(this.#error));
    this.#socket.pause();
  }

  write(chunk: Uint8Array): boolean {
    this.bytesWritten += chunk.length;
    return this.#socket.write(Buffer.from(chunk));
  }

  end(): void {
    this.#socket.end();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  destroy(error?: Error): void {
    this.#error ??= error;
    this.#socket.destroy();
  }
}
