import { createHash } from "node:crypto";
import type { ByteChannel, ByteChannelHandler } from "@hairpin/wire";

/** Of {@link ChannelProbe.send}, unless a case says otherwise. */
export const largestWriteBytes: number = 64 * 1024;

/** How a channel was seen to end. */
export interface ChannelEnd {
  /** `onEnd` came: the peer said that these were all the bytes. */
  readonly ended: boolean;
  readonly error: Error | undefined;
}

/** The owner of a channel: hashes what comes, sends with back-pressure, and notes how it ends. */
export class ChannelProbe implements ByteChannelHandler {
  readonly channel: ByteChannel;
  receivedBytes = 0;
  chunks = 0;
  /** Resolves with `onEnd`; rejects when the channel closes without. */
  readonly whenEnded: Promise<void>;
  /** Resolves with `onClose`, whatever came before. */
  readonly whenClosed: Promise<ChannelEnd>;
  /** Promises of {@link ByteChannelHandler} that the channel broke. */
  readonly faults: string[] = [];
  /** Called after each chunk was hashed. */
  onChunk: (() => void) | undefined;
  readonly #before: { readonly read: number; readonly written: number };
  readonly #hash = createHash("sha256");
  readonly #ended = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<ChannelEnd>();
  #sawEnd = false;
  #sawClose = false;
  #drained: (() => void) | undefined;

  /** Takes the channel over; reads at once unless `paused`. */
  constructor(channel: ByteChannel, options: { readonly paused?: boolean } = {}) {
    this.channel = channel;
    this.#before = { read: channel.bytesRead, written: channel.bytesWritten };
    this.whenEnded = this.#ended.promise;
    this.whenClosed = this.#closed.promise;
    // Cases that expect a break do not look at whenEnded.
    this.whenEnded.catch(() => {});
    channel.setHandler(this);
    if (options.paused !== true) channel.resume();
  }

  /** The channel's own counters, from when it was taken over. */
  get counters(): { readonly read: number; readonly written: number } {
    const { bytesRead, bytesWritten } = this.channel;
    return { read: bytesRead - this.#before.read, written: bytesWritten - this.#before.written };
  }

  /** SHA-256 of everything received, in hex. Once. */
  digest(): string {
    return this.#hash.digest("hex");
  }

  /** Writes `bytes` in pieces, waiting whenever the channel is full, and resolves when all are taken or the channel closed. */
  async send(
    bytes: Uint8Array,
    pieceBytes: number | (() => number) = Math.min(largestWriteBytes, Math.ceil(bytes.length / 8)),
  ): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#sawClose;) {
      const end = at + (typeof pieceBytes === "number" ? pieceBytes : pieceBytes());
      const piece = Buffer.from(bytes.subarray(at, end));
      at = end;
      const drained = new Promise<void>((resolve) => (this.#drained = resolve));
      const more = this.channel.write(piece);
      // The piece was borrowed until write returned.
      piece.fill(0xee);
      if (!more && !this.channel.closed) await drained;
    }
  }

  onData(chunk: Uint8Array): void {
    if (this.#sawEnd || this.#sawClose) this.faults.push("data after the end");
    if (chunk.length === 0) this.faults.push("an empty chunk");
    this.chunks++;
    this.receivedBytes += chunk.length;
    this.#hash.update(chunk);
    this.onChunk?.();
  }

  onEnd(): void {
    if (this.#sawEnd || this.#sawClose) this.faults.push("an end after the end");
    this.#sawEnd = true;
    this.#ended.resolve();
  }

  onDrain(): void {
    this.#drained?.();
  }

  onClose(error: Error | undefined): void {
    if (this.#sawClose) this.faults.push("a second close");
    this.#sawClose = true;
    this.#drained?.();
    this.#ended.reject(error ?? new Error("The channel closed without an end"));
    this.#closed.resolve({ ended: this.#sawEnd, error });
  }
}

/** SHA-256 in hex. */
export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
