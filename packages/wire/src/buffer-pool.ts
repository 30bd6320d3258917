// Memory for bytes that wait for a slow peer. A channel whose peer keeps up never takes a buffer from here.

/** Bytes of the buffers of a pool. */
export interface BufferPoolStats {
  /** Handed out and not given back: bytes that wait for slow peers, rounded up to whole buffers. */
  readonly bytesInUse: number;
  readonly buffersInUse: number;
  /** Kept for reuse; `bytesFree` never exceeds the pool's limit. */
  readonly bytesFree: number;
  readonly buffersFree: number;
}

/**
 * Sizes of buffers. Several, so that a peer that stops reading a few bytes short does not pin 128 KiB; the largest is one
 * whole read.
 */
const bufferSizes: readonly number[] = [4 * 1024, 32 * 1024, 128 * 1024];

/** Reuses buffers of a few sizes. What is in use is bounded by the high-water marks of the channels that use it. */
export class BufferPool {
  readonly #maxFreeBytes: number;
  readonly #free: Buffer[][] = bufferSizes.map(() => []);
  #bytesFree = 0;
  #bytesInUse = 0;
  #buffersInUse = 0;

  /** @param maxFreeBytes memory kept for reuse; more than that is left to the garbage collector. */
  constructor(maxFreeBytes: number) {
    this.#maxFreeBytes = maxFreeBytes;
  }

  /** A buffer of at least `size` bytes, or of the largest size if that is smaller. Content is arbitrary. */
  acquire(size: number): Buffer {
    let sizeIndex = 0;
    while (sizeIndex < bufferSizes.length - 1 && (bufferSizes[sizeIndex] as number) < size) sizeIndex++;
    const pooled = this.#free[sizeIndex]?.pop();
    if (pooled !== undefined) this.#bytesFree -= pooled.length;
    const buffer = pooled ?? Buffer.allocUnsafeSlow(bufferSizes[sizeIndex] as number);
    this.#bytesInUse += buffer.length;
    this.#buffersInUse++;
    return buffer;
  }

  /** Gives a buffer of `acquire` back, once, after its last reader is done. */
  release(buffer: Buffer): void {
    this.#bytesInUse -= buffer.length;
    this.#buffersInUse--;
    const free = this.#free[bufferSizes.indexOf(buffer.length)];
    if (free === undefined || this.#bytesFree + buffer.length > this.#maxFreeBytes) return;
    free.push(buffer);
    this.#bytesFree += buffer.length;
  }

  get stats(): BufferPoolStats {
    return {
      bytesInUse: this.#bytesInUse,
      buffersInUse: this.#buffersInUse,
      bytesFree: this.#bytesFree,
      buffersFree: this.#free.reduce((count, buffers) => count + buffers.length, 0),
    };
  }
}

/** The pool of this thread; each worker has its own. 8 MiB: 64 connections that stall at once cost no allocation. */
export const threadBufferPool: BufferPool = new BufferPool(8 * 1024 * 1024);

/** What this thread's pool holds, for metrics. */
export function bufferPoolStats(): BufferPoolStats {
  return threadBufferPool.stats;
}
