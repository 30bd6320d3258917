import type { ByteChannel, ByteChannelHandler } from "../../byte-channel.ts";

export interface ChannelPairOptions {
  /** Bytes on their way in one direction above which `write` returns false. Default 64 KiB. */
  readonly highWaterMark?: number;
  /** How many of the `available` bytes the next `onData` gets (at least 1 is given). Default: all. */
  readonly chunking?: (available: number) => number;
}

/**
 * Two ends of a connection in memory, with the promises of {@link ByteChannel}: chunks are borrowed, events come from the event
 * loop and never from inside a call, each direction ends on its own, `destroy` breaks both.
 */
export function createChannelPair(options: ChannelPairOptions = {}): [ByteChannel, ByteChannel] {
  const left = new MemoryChannel(options);
  const right = new MemoryChannel(options);
  left.peer = right;
  right.peer = left;
  return [left, right];
}

class MemoryChannel implements ByteChannel {
  peer!: MemoryChannel;
  bytesRead = 0;
  bytesWritten = 0;
  readonly #highWaterMark: number;
  readonly #chunking: (available: number) => number;
  #handler: ByteChannelHandler | undefined;
  /** Written by the peer, not yet delivered here. */
  #incoming: Buffer[] = [];
  /** Where the next byte is: an index into `#incoming` and one into that piece. Shifting long arrays is slow. */
  #nextPiece = 0;
  #nextByte = 0;
  #incomingBytes = 0;
  #incomingEnded = false;
  #endDelivered = false;
  #localEnded = false;
  #paused = true;
  #needDrain = false;
  #broken = false;
  #error: Error | undefined;
  #closeDelivered = false;
  #scheduled = false;

  constructor(options: ChannelPairOptions) {
    this.#highWaterMark = options.highWaterMark ?? 64 * 1024;
    this.#chunking = options.chunking ?? ((available) => available);
  }

  get bufferedBytes(): number {
    return this.peer.#incomingBytes;
  }

  get closed(): boolean {
    return this.#broken || (this.#endDelivered && this.#localEnded);
  }

  setHandler(handler: ByteChannelHandler): void {
    this.#handler = handler;
    this.#schedule();
  }

  write(chunk: Uint8Array): boolean {
    if (this.#localEnded) throw new Error("write after end");
    if (this.#broken) return false;
    this.bytesWritten += chunk.length;
    if (chunk.length > 0) this.peer.#incoming.push(Buffer.from(chunk));
    this.peer.#incomingBytes += chunk.length;
    this.peer.#schedule();
    if (this.peer.#incomingBytes <= this.#highWaterMark) return true;
    this.#needDrain = true;
    return false;
  }

  end(): void {
    this.#localEnded = true;
    this.peer.#incomingEnded = true;
    this.#schedule();
    this.peer.#schedule();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#schedule();
  }

  destroy(error?: Error): void {
    if (this.closed) return;
    this.#break(error);
    this.peer.#break(Object.assign(new Error("the other end was destroyed"), { code: "ECONNRESET" }));
  }

  #break(error: Error | undefined): void {
    if (this.closed) return;
    this.#broken = true;
    this.#error = error;
    this.#incoming = [];
    this.#nextPiece = 0;
    this.#incomingBytes = 0;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#handler === undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#handler !== undefined && !this.#closeDelivered) this.#deliver(this.#handler);
    });
  }

  #deliver(handler: ByteChannelHandler): void {
    this.#deliverData(handler);
    if (this.#incomingEnded && this.#incomingBytes === 0 && !this.#paused && !this.#broken && !this.#endDelivered) {
      this.#endDelivered = true;
      handler.onEnd();
    }
    if (this.#needDrain && !this.#broken && this.bufferedBytes <= this.#highWaterMark / 2) {
      this.#needDrain = false;
      handler.onDrain();
    }
    if (!this.closed) return;
    this.#closeDelivered = true;
    handler.onClose(this.#error);
  }

  #deliverData(handler: ByteChannelHandler): void {
    while (!this.#paused && !this.#broken) {
      const first = this.#incoming[this.#nextPiece];
      if (first === undefined) return;
      const start = this.#nextByte;
      const available = first.length - start;
      const length = Math.min(available, Math.max(1, this.#chunking(available)));
      this.#nextByte += length;
      if (length === available) this.#dropFirst();
      this.#incomingBytes -= length;
      this.bytesRead += length;
      const chunk = Buffer.from(first.subarray(start, start + length));
      handler.onData(chunk);
      // Borrowed memory is reused: whoever kept it must see that.
      chunk.fill(0xee);
      if (this.peer.#needDrain) this.peer.#schedule();
    }
  }

  #dropFirst(): void {
    this.#nextByte = 0;
    if (++this.#nextPiece < 1024) return;
    this.#incoming.splice(0, this.#nextPiece);
    this.#nextPiece = 0;
  }
}
