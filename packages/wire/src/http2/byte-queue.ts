// Copies of borrowed chunks, in order, until they can go on. Blocks double from 1 KiB to 64 KiB, so that a tunnel with a few bytes
// waiting costs little and one with megabytes waiting allocates little; full-size blocks are shared by all queues of the thread.

const SMALLEST_BLOCK = 1024;
const LARGEST_BLOCK = 64 * 1024;
/** 4 MiB kept at most. */
const POOLED_BLOCKS = 64;
const pool: Buffer[] = [];

function takeBlock(size: number): Buffer {
  if (size < LARGEST_BLOCK) return Buffer.allocUnsafeSlow(size);
  return pool.pop() ?? Buffer.allocUnsafeSlow(LARGEST_BLOCK);
}

function giveBlock(block: Buffer): void {
  if (block.length === LARGEST_BLOCK && pool.length < POOLED_BLOCKS) pool.push(block);
}

/** Bytes taken out of a queue together with the block they lie in; give it back with {@link ByteQueue.release}. */
export interface QueuedPiece {
  readonly block: Buffer;
  readonly start: number;
  end: number;
}

export class ByteQueue {
  #pieces: QueuedPiece[] = [];
  #first = 0;
  /** Read position in the first piece. */
  #at = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  append(source: Uint8Array, start: number, end: number): void {
    let from = start;
    while (from < end) {
      const last = this.#pieces[this.#pieces.length - 1];
      let room = last === undefined ? 0 : last.block.length - last.end;
      let piece = last;
      if (piece === undefined || room === 0) {
        const wanted = Math.max(SMALLEST_BLOCK, (last?.block.length ?? 0) * 2, end - from);
        const size = Math.min(LARGEST_BLOCK, 2 ** Math.ceil(Math.log2(wanted)));
        piece = { block: takeBlock(size), start: 0, end: 0 };
        room = piece.block.length;
        this.#pieces.push(piece);
      }
      const to = Math.min(end, from + room);
      piece.block.set(source.subarray(from, to), piece.end);
      piece.end += to - from;
      this.#length += to - from;
      from = to;
    }
  }

  /** Moves up to `most` bytes to the front of `target[offset…]`; returns how many. */
  moveTo(target: Buffer, offset: number, most: number): number {
    let moved = 0;
    while (moved < most && this.#length > 0) {
      const piece = this.#pieces[this.#first] as QueuedPiece;
      const end = Math.min(piece.end, this.#at + most - moved);
      piece.block.copy(target, offset + moved, this.#at, end);
      moved += end - this.#at;
      this.#length -= end - this.#at;
      this.#at = end;
      if (end === piece.end) giveBlock(this.#dropFirst().block);
    }
    return moved;
  }

  /** Takes the first contiguous bytes out. Nothing else reuses their memory before {@link ByteQueue.release}. */
  shift(): QueuedPiece | undefined {
    if (this.#length === 0) return undefined;
    const start = this.#at;
    const piece = this.#dropFirst();
    this.#length -= piece.end - start;
    return { block: piece.block, start, end: piece.end };
  }

  static release(piece: QueuedPiece): void {
    giveBlock(piece.block);
  }

  /** Drops everything; returns how many bytes that were. */
  clear(): number {
    const dropped = this.#length;
    while (this.#first < this.#pieces.length) giveBlock(this.#dropFirst().block);
    this.#length = 0;
    return dropped;
  }

  #dropFirst(): QueuedPiece {
    const piece = this.#pieces[this.#first++] as QueuedPiece;
    this.#at = 0;
    if (this.#first === this.#pieces.length) {
      this.#pieces = [];
      this.#first = 0;
    } else if (this.#first > 32) {
      this.#pieces = this.#pieces.slice(this.#first);
      this.#first = 0;
    }
    return piece;
  }
}
