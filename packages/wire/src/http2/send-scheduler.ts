import { withHeadroom } from "../read-buffer.ts";
import { SendWindow } from "./flow-control.ts";
import { DEFAULT_FRAME_SIZE, DEFAULT_WINDOW_SIZE, FRAME_HEADER_BYTES, FrameType, writeFrameHeader } from "./frame.ts";
import type { Output } from "./output.ts";
import { threadSendMemory } from "./send-memory.ts";
import type { SessionStats } from "./session-stats.ts";
import type { EngineStream } from "./stream.ts";

/** DATA is serialised in batches of about this size; more would only make the copies miss the cache. */
const BATCH_BYTES = 128 * 1024;
/** What a bulk transfer gives at once does not wait for the turn's end: it is still in the cache, and the peer could work on it. */
const FLUSH_BYTES = 64 * 1024;

export interface SchedulerEvents {
  /** There is much: hand the output to the channel now, if it takes any. */
  flushNow(): void;
  /** Hand these bytes to the channel now; nothing is in the output. */
  sendNow(bytes: Buffer): void;
  /** Everything the stream had queued is serialised. */
  onQueueEmpty(stream: EngineStream): void;
  /** Something was serialised of a stream whose writer waits for onDrain. */
  onProgress(stream: EngineStream): void;
}

/**
 * Decides whose DATA goes next: streams that have bytes and window take turns of one frame each. A stream that finds nobody
 * waiting is serialised straight from the caller's chunk.
 */
export class SendScheduler {
  readonly connectionWindow: SendWindow = new SendWindow(DEFAULT_WINDOW_SIZE);
  /** The channel is full: nothing is serialised before it drained. */
  blocked = false;
  /** Largest DATA payload that is put together here. */
  maxPayload: number;
  /** Largest that the peer takes. */
  maxFramePayload: number = DEFAULT_FRAME_SIZE;

  readonly #output: Output;
  readonly #stats: SessionStats;
  readonly #events: SchedulerEvents;
  /** Streams with queued bytes and window, as a list through `nextInRing`. */
  #first: EngineStream | undefined;
  #last: EngineStream | undefined;

  constructor(output: Output, stats: SessionStats, events: SchedulerEvents, maxPayload: number) {
    this.#output = output;
    this.#stats = stats;
    this.#events = events;
    this.maxPayload = maxPayload;
  }

  /** True when `pump` would serialise something. */
  get hasWork(): boolean {
    return this.#first !== undefined && !this.blocked && this.connectionWindow.available > 0;
  }

  write(stream: EngineStream, chunk: Uint8Array): void {
    const sent = this.#first === undefined && stream.bufferedBytes === 0 ? this.#writeThrough(stream, chunk) : 0;
    if (sent === chunk.length || stream.closed) return;
    stream.queue.append(chunk, sent, chunk.length);
    this.#count(chunk.length - sent);
    this.enqueue(stream);
  }

  /** The stream may have become ready: bytes came, or its window opened. */
  enqueue(stream: EngineStream): void {
    if (stream.inRing || stream.detached || stream.bufferedBytes === 0 || stream.sendWindow.available <= 0) return;
    stream.inRing = true;
    stream.nextInRing = undefined;
    if (this.#last === undefined) this.#first = stream;
    else this.#last.nextInRing = stream;
    this.#last = stream;
  }

  /** Drops what the stream queued. */
  drop(stream: EngineStream): void {
    if (stream.bufferedBytes > 0) this.#count(-stream.queue.clear());
  }

  /** Serialises up to one batch. */
  pump(): void {
    while (this.hasWork && this.#output.length < BATCH_BYTES) {
      const stream = this.#takeFirst();
      const length = Math.min(
        stream.bufferedBytes,
        stream.sendWindow.available,
        this.connectionWindow.available,
        this.maxPayload,
      );
      // Reset, or its window shrank, since it was enqueued.
      if (length <= 0 || stream.detached) continue;
      this.#output.queuedData(stream.id, stream.queue, length, this.maxPayload);
      this.#account(stream, length);
      this.#count(-length);
      this.enqueue(stream);
      if (stream.bufferedBytes === 0) this.#events.onQueueEmpty(stream);
      if (stream.awaitsDrain) this.#events.onProgress(stream);
    }
  }

  #writeThrough(stream: EngineStream, chunk: Uint8Array): number {
    let from = chunk.length >= FLUSH_BYTES ? this.#writeWithoutCopy(stream, chunk) : 0;
    while (from < chunk.length && !this.blocked) {
      if (this.#output.length >= BATCH_BYTES) {
        this.#events.flushNow();
        if (this.blocked || stream.closed || this.#output.length >= BATCH_BYTES) break;
      }
      const length = Math.min(
        chunk.length - from,
        stream.sendWindow.available,
        this.connectionWindow.available,
        BATCH_BYTES,
      );
      if (length <= 0) break;
      this.#output.data(stream.id, chunk, from, from + length, this.maxPayload);
      this.#account(stream, length);
      from += length;
    }
    if (this.#output.length >= FLUSH_BYTES) this.#events.flushNow();
    return from;
  }

  /** A read of a socket goes out as one frame from where it lies, as far as the windows allow. Returns how much went. */
  #writeWithoutCopy(stream: EngineStream, chunk: Uint8Array): number {
    const length = Math.min(
      chunk.length,
      stream.sendWindow.available,
      this.connectionWindow.available,
      this.maxFramePayload,
    );
    if (this.blocked || length < FLUSH_BYTES) return 0;
    const frame = withHeadroom(chunk, FRAME_HEADER_BYTES);
    if (frame === undefined) return 0;
    if (this.#output.length > 0) {
      this.#events.flushNow();
      if (this.blocked || stream.closed || this.#output.length > 0) return 0;
    }
    writeFrameHeader(frame, 0, length, FrameType.DATA, 0, stream.id);
    this.#account(stream, length);
    this.#events.sendNow(frame.subarray(0, FRAME_HEADER_BYTES + length));
    return length;
  }

  #count(queued: number): void {
    this.#stats.queuedBytes += queued;
    threadSendMemory.add(queued);
  }

  #account(stream: EngineStream, length: number): void {
    stream.sendWindow.available -= length;
    this.connectionWindow.available -= length;
    this.#stats.dataBytesSent += length;
  }

  #takeFirst(): EngineStream {
    const stream = this.#first as EngineStream;
    this.#first = stream.nextInRing;
    if (this.#first === undefined) this.#last = undefined;
    stream.nextInRing = undefined;
    stream.inRing = false;
    return stream;
  }
}
