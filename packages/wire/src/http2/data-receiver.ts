import { ConnectionFault, ErrorCode } from "./error.ts";
import { ReceiveWindow } from "./flow-control.ts";
import { DEFAULT_WINDOW_SIZE, Flag, FrameType } from "./frame.ts";
import type { LimitGuard } from "./limit-guard.ts";
import type { Output } from "./output.ts";
import type { SessionStats } from "./session-stats.ts";
import type { EngineStream } from "./stream.ts";
import type { StreamTable } from "./stream-table.ts";

/** What the receiver of DATA asks of its engine. */
export interface DataReceiverEvents {
  /** The peer broke a rule on this stream. */
  resetStream(stream: EngineStream, errorCode: ErrorCode, reason: string): void;
  /** END_STREAM came. */
  endRemote(stream: EngineStream): void;
  /** Something is in the output. */
  wake(): void;
}

/**
 * Reads DATA frames piece by piece, hands the pieces to their streams, and gives window back for what was consumed: on the
 * stream's window and the connection's, padding and dropped frames included.
 */
export class DataReceiver {
  readonly #streams: StreamTable;
  readonly #stats: SessionStats;
  readonly #guard: LimitGuard;
  readonly #output: Output;
  readonly #events: DataReceiverEvents;
  readonly #window: ReceiveWindow = new ReceiveWindow(DEFAULT_WINDOW_SIZE);
  // The frame that is being read.
  #stream: EngineStream | undefined;
  #endStream = false;
  /** Payload left, without the padding once its length is known. */
  #left = 0;
  #padLengthDue = false;
  #hadData = false;

  constructor(
    parts: { streams: StreamTable; stats: SessionStats; guard: LimitGuard; output: Output },
    events: DataReceiverEvents,
  ) {
    this.#streams = parts.streams;
    this.#stats = parts.stats;
    this.#guard = parts.guard;
    this.#output = parts.output;
    this.#events = events;
  }

  /** The connection's window begins at 65,535 (RFC 9113 §6.9.2); opens it to `size`. */
  openConnectionWindow(size: number): void {
    const more = size - DEFAULT_WINDOW_SIZE;
    this.#window.resize(more);
    if (more > 0) this.#output.numberFrame(FrameType.WINDOW_UPDATE, 0, more);
  }

  begin(streamId: number, flags: number, length: number): void {
    if (streamId === 0) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on stream 0");
    this.#padLengthDue = (flags & Flag.PADDED) !== 0;
    if (this.#padLengthDue && length === 0) {
      throw new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "A padded frame has no pad length");
    }
    if (!this.#window.take(length)) {
      throw new ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "The peer exceeded the connection's window");
    }
    this.#endStream = (flags & Flag.END_STREAM) !== 0;
    this.#left = length;
    this.#hadData = false;
    this.#stream = this.#findReceiver(streamId, length);
    // Frames that nobody takes open the window again at once; the rest when the consumer took them.
    if (this.#stream === undefined) this.#window.release(length);
    this.#updateConnectionWindow();
  }

  piece(source: Buffer, start: number, end: number): void {
    let from = start;
    const stream = this.#stream;
    if (this.#padLengthDue) {
      this.#padLengthDue = false;
      const padLength = source[from++] as number;
      if (padLength >= this.#left) {
        throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "Padding is longer than its frame");
      }
      this.#left -= padLength + 1;
      if (stream !== undefined) this.consumed(stream, padLength + 1);
    }
    const length = Math.min(this.#left, end - from);
    this.#left -= length;
    if (length === 0) return;
    this.#hadData = true;
    if (stream === undefined) return;
    this.#stats.dataBytesReceived += length;
    this.#countContent(stream, length);
    stream.receiveData(source, from, from + length);
  }

  end(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    if (!this.#hadData && !this.#endStream) this.#guard.spend("emptyData");
    if (stream === undefined) return;
    if (this.#endStream) this.#events.endRemote(stream);
    // Bytes that are held count as received too: the connection may owe an update to the others.
    this.#updateConnectionWindow();
  }

  /** The consumer took `bytes`, or they were dropped. */
  consumed(stream: EngineStream, bytes: number): void {
    this.#window.release(bytes);
    this.#updateConnectionWindow();
    if (stream.detached || stream.remoteEnded) return;
    stream.receiveWindow.release(bytes);
    this.#updateStreamWindow(stream);
  }

  /** Our SETTINGS, now acknowledged, changed the window of every stream. */
  resizeStreamWindows(delta: number): void {
    if (delta === 0) return;
    for (const stream of this.#streams.values()) {
      stream.receiveWindow.resize(delta);
      // A smaller window may make an update due that nothing else would send: the peer may be waiting for it.
      this.#updateStreamWindow(stream);
    }
  }

  /** The stream that takes this DATA; undefined: it is dropped. */
  #findReceiver(streamId: number, length: number): EngineStream | undefined {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      this.#streams.checkStray("DATA", streamId);
      return undefined;
    }
    if (stream.remoteEnded) {
      this.#events.resetStream(stream, ErrorCode.STREAM_CLOSED, "DATA after END_STREAM");
      return undefined;
    }
    if (!stream.acceptsData) {
      this.#events.resetStream(stream, ErrorCode.PROTOCOL_ERROR, "DATA before the response head");
      return undefined;
    }
    if (!stream.receiveWindow.take(length)) {
      this.#events.resetStream(stream, ErrorCode.FLOW_CONTROL_ERROR, "the peer exceeded the stream's window");
      return undefined;
    }
    return stream;
  }

  #countContent(stream: EngineStream, length: number): void {
    if (stream.contentLeft < 0 || stream.closed) return;
    if (length <= stream.contentLeft) stream.contentLeft -= length;
    // The rest of this frame only opens the window again.
    else this.#events.resetStream(stream, ErrorCode.PROTOCOL_ERROR, "more DATA than content-length");
  }

  #updateStreamWindow(stream: EngineStream): void {
    const due = stream.receiveWindow.takeDueUpdate();
    if (due === 0) return;
    this.#output.numberFrame(FrameType.WINDOW_UPDATE, stream.id, due);
    this.#events.wake();
  }

  #updateConnectionWindow(): void {
    const due = this.#window.takeDueUpdate();
    if (due === 0) return;
    this.#output.numberFrame(FrameType.WINDOW_UPDATE, 0, due);
    this.#events.wake();
  }
}
