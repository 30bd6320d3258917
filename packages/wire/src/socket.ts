import { writeSync } from "node:fs";
import type { Socket } from "node:net";
import type { ByteChannel, ByteChannelHandler } from "./byte-channel.ts";
import { WireError } from "./errors.ts";
import { type RawSocketReceiver, type SocketHandle, adoptRawSocket, socketHandle } from "./raw-socket.ts";
import { type AtTurnEnd, callAtTurnEnd, turnsAreFull } from "./turn.ts";
import { WriteBacklog } from "./write-backlog.ts";

export interface SocketChannelOptions {
  /** `write` returns false when more than this many bytes wait. Default 128 KiB; 0: as soon as anything waits. */
  readonly highWaterMark?: number;
}

/** One whole read may wait before the source is told to stop. */
export const defaultHighWaterMark: number = 128 * 1024;

/** Bytes that may wait for the end of a turn. More are written at once: their copy would cost more than is won. */
const maxGatheredBytes = 16 * 1024;

/**
 * Takes over a connected *raw* socket: paused, nothing read, no listeners, as `listenTcp` and `connectTcp` give it. Use
 * only the channel afterwards. Throws `SOCKET_NOT_RAW` otherwise.
 */
export function createSocketChannel(socket: Socket, options: SocketChannelOptions = {}): ByteChannel {
  return new SocketChannel(socket, { highWaterMark: options.highWaterMark ?? defaultHighWaterMark, gathers: true });
}

/**
 * States: open → ending (`end` called, bytes still wait) → ended (FIN sent) → closed; `destroy` and errors lead from each
 * to closed. The two directions end independently; the socket closes itself when both have.
 */
export class SocketChannel implements ByteChannel, RawSocketReceiver, AtTurnEnd {
  readonly #socket: Socket;
  readonly #highWaterMark: number;
  readonly #gathers: boolean;
  /** Ours as long as the socket has its handle. */
  readonly #descriptor: number;
  readonly #backlog = new WriteBacklog();
  #handler: ByteChannelHandler | undefined;
  #flowing = false;
  /** The backlog waits for the end of the turn, not for the peer. */
  #gathering = false;
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

  /** `gathers`: while turns are full, small writes wait for the end of the turn. Not for those who gather themselves. */
  constructor(
    socket: Socket,
    { highWaterMark, gathers }: { readonly highWaterMark: number; readonly gathers: boolean },
  ) {
    this.#highWaterMark = highWaterMark;
    // A channel that stops its source as soon as anything waits cannot let anything wait.
    this.#gathers = gathers && highWaterMark >= maxGatheredBytes;
    this.#socket = adoptRawSocket(socket, this);
    this.#descriptor = socketHandle(this.#socket)?.fd ?? -1;
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
    if (this.#gathering && this.#backlog.size + chunk.length > maxGatheredBytes) this.onTurnEnd();
    if (this.#closing) return false;
    if (this.#backlog.size > 0) this.#backlog.append(chunk);
    else if (this.#gathers && chunk.length <= maxGatheredBytes && turnsAreFull()) this.#gather(chunk);
    else this.#writeNow(chunk);
    if (this.#closing) return false;
    if (this.#backlog.size > this.#highWaterMark) this.#owesDrain = true;
    return !this.#owesDrain;
  }

  end(): void {
    this.onTurnEnd();
    if (this.#closing || this.#writeState !== "open") return;
    this.#writeState = "ending";
    this.#endIfWritten();
  }

  destroy(error?: Error): void {
    this.onTurnEnd();
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
    this.onTurnEnd();
    if (this.#closing) return;
    this.#closing = true;
    this.#flowing = false;
    this.#socket.destroy();
  }

  #gather(chunk: Uint8Array): void {
    this.#backlog.append(chunk);
    this.#gathering = true;
    callAtTurnEnd(this);
  }

  /** Writes what was gathered; also called before that when it can wait no longer. */
  onTurnEnd(): void {
    if (!this.#gathering) return;
    this.#gathering = false;
    for (;;) {
      const bytes = this.#backlog.takeHead();
      if (bytes === undefined) return;
      const written = this.#writeToKernel(bytes);
      // The socket failed: the backlog goes with it.
      if (this.#closing) return;
      if (written < bytes.length) {
        this.#backlog.releaseStart(written);
        this.#writeBacklog();
        return;
      }
      this.#backlog.releaseHead();
    }
  }

  #writeNow(chunk: Uint8Array): void {
    const written = this.#writeToKernel(chunk);
    if (this.#closing || written === chunk.length) return;
    this.#backlog.append(written === 0 ? chunk : chunk.subarray(written));
    this.#writeBacklog();
  }

  /**
   * Hands bytes to the kernel at once, by write(2) on the non-blocking descriptor, and says how many it took; the rest is to be
   * kept. A write through the stream would keep a reference to the caller's memory until it completes, and the read
   * buffer cannot be exchanged instead: each socket's handle remembers the buffer of its own last read. Costs no more
   * than `socket.write` (3 µs for 1 KiB, both).
   */
  #writeToKernel(bytes: Uint8Array): number {
    try {
      // Once the handle is gone the descriptor may be another socket's.
      if (socketHandle(this.#socket) !== null) return writeSync(this.#descriptor, bytes, 0, bytes.length);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "EAGAIN" && code !== "EINTR" && code !== "ENOBUFS") this.destroy(asError(error));
    }
    return 0;
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
    this.#gathering = false;
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
