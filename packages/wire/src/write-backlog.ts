import { threadBufferPool } from "./buffer-pool.ts";

interface Segment {
  readonly buffer: Buffer;
  start: number;
  end: number;
}

/**
 * Bytes that a peer has not taken yet, copied into pooled buffers in order. Small writes share a buffer, so many frames
 * leave in one write.
 */
export class WriteBacklog {
  readonly #segments: Segment[] = [];
  /** The first segment is being written by the kernel side: it may be neither appended to nor released. */
  #headBusy = false;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  append(bytes: Uint8Array): void {
    let offset = 0;
    while (offset < bytes.length) {
      const tail = this.#tailWithRoom(bytes.length - offset);
      const count = Math.min(bytes.length - offset, tail.buffer.length - tail.end);
      tail.buffer.set(
        offset === 0 && count === bytes.length ? bytes : bytes.subarray(offset, offset + count),
        tail.end,
      );
      tail.end += count;
      offset += count;
    }
    this.#size += bytes.length;
  }

  /** The first bytes, which now belong to a write until `releaseHead`; undefined when nothing waits. */
  takeHead(): Buffer | undefined {
    const head = this.#segments[0];
    if (head === undefined) return undefined;
    this.#headBusy = true;
    return head.buffer.subarray(head.start, head.end);
  }

  /** The first `count` bytes of `takeHead` are written, the rest of it is not: it is to be taken again. */
  releaseStart(count: number): void {
    const head = this.#segments[0];
    this.#headBusy = false;
    if (head === undefined) return;
    head.start += count;
    this.#size -= count;
  }

  /** The write of `takeHead` is done. */
  releaseHead(): void {
    const head = this.#segments.shift();
    this.#headBusy = false;
    if (head === undefined) return;
    this.#size -= head.end - head.start;
    threadBufferPool.release(head.buffer);
  }

  /** Throws everything away. Only when no write can touch the head any more. */
  clear(): void {
    for (const segment of this.#segments.splice(0)) threadBufferPool.release(segment.buffer);
    this.#headBusy = false;
    this.#size = 0;
  }

  #tailWithRoom(wanted: number): Segment {
    const tail = this.#segments.at(-1);
    const open = tail !== undefined && !(this.#headBusy && this.#segments.length === 1);
    if (open && tail.end < tail.buffer.length) return tail;
    // What already waits predicts what will: a backlog that grows takes larger buffers.
    const segment = { buffer: threadBufferPool.acquire(Math.max(wanted, this.#size)), start: 0, end: 0 };
    this.#segments.push(segment);
    return segment;
  }
}
