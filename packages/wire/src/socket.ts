import { writeSync } from "node:fs";
import type { Socket } from "node:net";
import type { ByteChannel, ByteChannelHandler } from "./byte-channel.ts";
import { WireError } from "./errors.ts";
import { type RawSocketReceiver, type SocketHandle, adoptRawSocket, socketHandle } from "./raw-socket.ts";
import { WriteBacklog } from "./write-backlog.ts";

export interface SocketChannelOptions {
  /** `write` returns false when more than this many bytes wait. Default 128 KiB; 0: as soon as anything waits. */
  readonly highWaterMark?: number;
}

/** One whole read may wait before the source is told to stop. */
export const defaultHighWaterMark: number = 128 * 1024;

/**
 * Takes over a connected *raw* socket: paused, nothing read, no listeners, as `listenTcp` and `connectTcp` give it. Use
 * only the channel afterwards. Throws `SOCKET_NOT_RAW` otherwise.
 */
export function createSocketChannel(socket: Socket, options: SocketChannelOptions = {}): ByteChannel {
  return new SocketChannel(socket, options.highWaterMark ?? defaultHighWaterMark);
}

/**
 * States: open → ending (`end` called, bytes still wait) → ended (FIN sent) → closed; `destroy` and errors lead from each
 * to closed. The two directions end independently; the socket closes itself when both have.
 */
export class SocketChannel implements ByteChannel, RawSocketReceiver {
  readonly #socket: Socket;
  readonly #highWaterMark: number;
  readonly #backlog = new WriteBacklog();
  #handler: ByteChannelHandler | undefined;
  #flowing = false;
  #writing = false;
  #owesDrain = false;
  #writeState: "open" | "ending" | "ended" = "open";
  #closeAfterEnd = false;
  #closing = false;
  #closeDelivered = false;
  #socketClosed = false;
  #error: Error | undefined;
  #bytesRead = 0;
  #bytesWritten = 0;

  constructor(socket: Socket, highWaterMark: number) {
    this.#highWaterMark = highWaterMark;
    this.#socket = adoptRawSocket(socket, this);
    this.#socket.on("end", () => this.#deliver((handler) => handler.onEnd()));
    this.#socket.on("error", (error) => this.#fail(error));
    this.#socket.on("close", () => this.#onSocketClose());
  }

  /** The peer's IP; empty when the kernel no longer knows it. */
  get remoteAddress(): string {
    return this.#socket.remoteAddress ?? "";
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  get bufferedBytes(): number {
    return this.#backlog.size;
  }

  get closed(): boolean {
    return this.#closing;
  }

  setHandler(handler: ByteChannelHandler): void {
    this.#handler = handler;
    if (this.#socketClosed && !this.#closeDelivered) queueMicrotask(() => this.#deliverClose());
  }

  resume(): void {
    if (this.#flowing || this.#closing || this.#handler === undefined) return;
    this.#flowing = true;
    this.#socket.resume();
  }

  pause(): void {
    if (!this.#flowing) return;
    this.#flowing = false;
    this.#socket.pause();
  }

  /** Called by the socket inside the read: `chunk` lies in the buffer that all sockets of the thread share. */
  onRead(chunk: Uint8Array): boolean {
    this.#bytesRead += chunk.length;
    const handler = this.#handler;
    if (handler === undefined || this.#closing) return false;
    try {
      handler.onData(chunk);
    } catch (error) {
      this.destroy(asError(error));
    }
    return this.#flowing && !this.#closing;
  }

  write(chunk: Uint8Array): boolean {
    if (this.#closing) return false;
    if (this.#writeState !== "open") {
      this.destroy(new WireError("WRITE_AFTER_END", `${chunk.length} bytes written after the end of the stream`));
      return false;
    }
    if (chunk.length === 0) return !this.#owesDrain;
    this.#bytesWritten += chunk.length;
    if (this.#backlog.size > 0) this.#backlog.append(chunk);
    else this.#writeNow(chunk);
    if (this.#closing) return false;
    if (this.#backlog.size > this.#highWaterMark) this.#owesDrain = true;
    return !this.#owesDrain;
  }

  end(): void {
    if (this.#closing || this.#writeState !== "open") return;
    this.#writeState = "ending";
    this.#endIfWritten();
  }

  destroy(error?: Error): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#flowing = false;
    this.#error ??= error;
    this.#abort();
  }

  /**
   * Like `end`, and closes when the kernel has everything, without waiting for the peer's FIN. For protocols that tell the
   * end of their stream themselves, once both sides told it.
   */
  endAndClose(): void {
    if (this.#closing) return;
    this.#closeAfterEnd = true;
    if (this.#writeState === "ended") this.close();
    else this.end();
  }

  /**
   * Closes without RST and without waiting for the peer: what the kernel has still goes out, what waits here is dropped.
   * For protocols that tell the end of their stream themselves, as TLS does.
   */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#flowing = false;
    this.#socket.destroy();
  }

  /**
   * Hands the bytes to the kernel at once, by write(2) on the non-blocking descriptor, and copies only what it does not
   * take. A write through the stream would keep a reference to the caller's memory until it completes, and the read
   * buffer cannot be exchanged instead: each socket's handle remembers the buffer of its own last read. Costs no more
   * than `socket.write` (3 µs for 1 KiB, both).
   */
  #writeNow(chunk: Uint8Array): void {
    const descriptor = socketHandle(this.#socket)?.fd ?? -1;
    let written = 0;
    try {
      if (descriptor >= 0) written = writeSync(descriptor, chunk, 0, chunk.length);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "EAGAIN" && code !== "EINTR" && code !== "ENOBUFS") return this.destroy(asError(error));
    }
    if (written === chunk.length) return;
    this.#backlog.append(written === 0 ? chunk : chunk.subarray(written));
    this.#writeBacklog();
  }

  #writeBacklog(): void {
    if (this.#writing || this.#closing) return;
    const bytes = this.#backlog.takeHead();
    if (bytes === undefined) return;
    this.#writing = true;
    this.#socket.write(bytes, (error) => {
      this.#writing = false;
      // After an error or destroy the segment is released on 'close', when the kernel side is done with it.
      if (error || this.#closing) return;
      this.#backlog.releaseHead();
      if (this.#backlog.size > 0) return this.#writeBacklog();
      if (this.#writeState === "ending") return this.#endIfWritten();
      if (!this.#owesDrain) return;
      this.#owesDrain = false;
      this.#deliver((handler) => handler.onDrain());
    });
  }

  #endIfWritten(): void {
    if (this.#backlog.size > 0) return;
    this.#writeState = "ended";
    if (this.#closeAfterEnd) this.close();
    else this.#socket.end();
  }

  #deliver(event: (handler: ByteChannelHandler) => void): void {
    if (this.#handler === undefined || this.#closing) return;
    try {
      event(this.#handler);
    } catch (error) {
      this.destroy(asError(error));
    }
  }

  #fail(error: Error): void {
    this.#error ??= this.#closing ? undefined : error;
    this.#closing = true;
    this.#flowing = false;
  }

  /** RST, so that the peer cannot take what it got for the whole. */
  #abort(): void {
    const handle: SocketHandle | null = socketHandle(this.#socket);
    // While a FIN is on its way out the kernel refuses the reset (EINVAL) and Node would never close the handle. All our
    // bytes are with the kernel then, so closing loses none.
    const finPending = this.#writeState === "ended" && !this.#socket.writableFinished;
    if (handle?.reset !== undefined && !finPending) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  #onSocketClose(): void {
    this.#closing = true;
    this.#socketClosed = true;
    this.#flowing = false;
    this.#backlog.clear();
    this.#deliverClose();
  }

  #deliverClose(): void {
    const handler = this.#handler;
    if (handler === undefined || this.#closeDelivered) return;
    this.#closeDelivered = true;
    handler.onClose(this.#error);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
