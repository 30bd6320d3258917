import { ByteWriter } from "./byte-writer.ts";
import type { ByteQueue } from "./byte-queue.ts";
import { Flag, FRAME_HEADER_BYTES, FrameType, writeFrameHeader, writeUint32 } from "./frame.ts";

const INITIAL_CAPACITY = 64 * 1024;
/** Writers beyond this size are left to the garbage collector. */
const POOLED_CAPACITY = 1024 * 1024;
const POOLED_WRITERS = 8;
/** Idle sessions hold no buffer: writers are shared by all sessions of the thread between flushes. */
const pool: ByteWriter[] = [];

/** Gives the memory of a flushed output back. */
export function recycleOutput(writer: ByteWriter): void {
  writer.length = 0;
  if (writer.bytes.length <= POOLED_CAPACITY && pool.length < POOLED_WRITERS) pool.push(writer);
}

/** Serialised frames that wait for the next flush. Consecutive DATA of one stream becomes one frame. */
export class Output {
  #writer: ByteWriter | undefined;
  /** The last frame, while it is DATA that can be extended: where its header is, and whose it is (0: none). */
  #dataAt = 0;
  #dataStreamId = 0;

  get length(): number {
    return this.#writer?.length ?? 0;
  }

  /** Takes the bytes; the caller gives the writer to {@link recycleOutput} when they are on their way. */
  take(): ByteWriter | undefined {
    const writer = this.#writer;
    this.#writer = undefined;
    this.#dataStreamId = 0;
    return writer;
  }

  bytes(source: Uint8Array): void {
    const writer = this.#open(source.length);
    writer.bytes.set(source, writer.length);
    writer.length += source.length;
  }

  /** A frame with its payload `source[start, end)`. */
  frame(
    type: number,
    flags: number,
    streamId: number,
    source: Uint8Array,
    start = 0,
    end: number = source.length,
  ): void {
    const writer = this.#open(FRAME_HEADER_BYTES + end - start);
    writeFrameHeader(writer.bytes, writer.length, end - start, type, flags, streamId);
    writer.bytes.set(source.subarray(start, end), writer.length + FRAME_HEADER_BYTES);
    writer.length += FRAME_HEADER_BYTES + end - start;
  }

  /** A frame whose payload is one number: RST_STREAM, WINDOW_UPDATE. */
  numberFrame(type: number, streamId: number, value: number): void {
    const writer = this.#open(FRAME_HEADER_BYTES + 4);
    writeFrameHeader(writer.bytes, writer.length, 4, type, 0, streamId);
    writeUint32(writer.bytes, writer.length + FRAME_HEADER_BYTES, value);
    writer.length += FRAME_HEADER_BYTES + 4;
  }

  /** DATA from a borrowed chunk, in frames of at most `maxPayload`. */
  data(streamId: number, source: Uint8Array, start: number, end: number, maxPayload: number): void {
    let from = start;
    while (from < end) {
      const room = this.#dataRoom(streamId, maxPayload, end - from);
      const writer = this.#writer as ByteWriter;
      writer.bytes.set(source.subarray(from, from + room), writer.length);
      this.#extendData(room);
      from += room;
    }
  }

  /** DATA of exactly `length` bytes from the front of a queue. */
  queuedData(streamId: number, queue: ByteQueue, length: number, maxPayload: number): void {
    let left = length;
    while (left > 0) {
      const room = this.#dataRoom(streamId, maxPayload, left);
      const writer = this.#writer as ByteWriter;
      queue.moveTo(writer.bytes, writer.length, room);
      this.#extendData(room);
      left -= room;
    }
  }

  /** END_STREAM without trailers: on the last DATA frame when that is still here, else on an empty one. */
  endStream(streamId: number): void {
    if (this.#dataStreamId === streamId) {
      (this.#writer as ByteWriter).bytes[this.#dataAt + 4] = Flag.END_STREAM;
      this.#dataStreamId = 0;
      return;
    }
    const writer = this.#open(FRAME_HEADER_BYTES);
    writeFrameHeader(writer.bytes, writer.length, 0, FrameType.DATA, Flag.END_STREAM, streamId);
    writer.length += FRAME_HEADER_BYTES;
  }

  /** Room for a frame of its own: no DATA frame can be extended after it. */
  #open(bytes: number): ByteWriter {
    this.#dataStreamId = 0;
    this.#writer ??= pool.pop() ?? new ByteWriter(INITIAL_CAPACITY);
    this.#writer.reserve(bytes);
    return this.#writer;
  }

  /** How many of `wanted` bytes fit into the last frame, after beginning a new one if it is full or another's. */
  #dataRoom(streamId: number, maxPayload: number, wanted: number): number {
    const used = this.#dataStreamId === streamId ? this.length - this.#dataAt - FRAME_HEADER_BYTES : maxPayload;
    if (used < maxPayload) {
      const room = Math.min(wanted, maxPayload - used);
      (this.#writer as ByteWriter).reserve(room);
      return room;
    }
    const room = Math.min(wanted, maxPayload);
    const writer = this.#open(FRAME_HEADER_BYTES + room);
    this.#dataAt = writer.length;
    this.#dataStreamId = streamId;
    writeFrameHeader(writer.bytes, writer.length, 0, FrameType.DATA, 0, streamId);
    writer.length += FRAME_HEADER_BYTES;
    return room;
  }

  #extendData(bytes: number): void {
    const writer = this.#writer as ByteWriter;
    writer.length += bytes;
    const payload = writer.length - this.#dataAt - FRAME_HEADER_BYTES;
    writer.bytes[this.#dataAt] = payload >>> 16;
    writer.bytes[this.#dataAt + 1] = payload >>> 8;
    writer.bytes[this.#dataAt + 2] = payload;
  }
}
