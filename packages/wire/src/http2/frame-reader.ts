import { FRAME_HEADER_BYTES, readUint24, readUint32 } from "./frame.ts";

/** How a frame's payload is wanted. */
export const Payload = {
  /** In one piece: from the input when it lies there whole, else collected. The sink bounds the length. */
  WHOLE: 0,
  /** Piece by piece, as it arrives. */
  STREAMED: 1,
} as const;
export type Payload = (typeof Payload)[keyof typeof Payload];

/** Takes the frames. Any call may throw; the reader is unusable afterwards. */
export interface FrameSink {
  beginFrame(type: number, flags: number, streamId: number, length: number): Payload;
  /** The whole payload is `source[start, end)`; borrowed. */
  wholeFrame(source: Buffer, start: number, end: number): void;
  /** A piece of a streamed payload, not empty; borrowed. */
  streamedPiece(source: Buffer, start: number, end: number): void;
  streamedEnd(): void;
}

/** Cuts a byte stream into frames, however it is split. Holds nine bytes, and a payload only while a WHOLE one is incomplete. */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #header: Buffer = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES);
  #headerFill = 0;
  #inPayload = false;
  #mode: Payload = Payload.WHOLE;
  #left = 0;
  #collected: Buffer | undefined;
  #collectedFill = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** `stopped` is asked between frames: a sink that failed or was closed gets nothing more. */
  read(source: Buffer, from: number, stopped: () => boolean): void {
    let at = from;
    while (!stopped()) {
      if (!this.#inPayload) {
        at = this.#readHeader(source, at);
        if (!this.#inPayload) return;
      }
      if (this.#mode === Payload.STREAMED) {
        const end = Math.min(source.length, at + this.#left);
        if (end > at) this.#sink.streamedPiece(source, at, end);
        this.#left -= end - at;
        at = end;
        if (this.#left > 0) return;
        this.#inPayload = false;
        this.#sink.streamedEnd();
      } else {
        at = this.#readWhole(source, at);
        if (this.#inPayload) return;
      }
    }
  }

  #readHeader(source: Buffer, from: number): number {
    let header = source;
    let start = from;
    let at = from;
    if (this.#headerFill > 0 || source.length - from < FRAME_HEADER_BYTES) {
      at = Math.min(source.length, from + FRAME_HEADER_BYTES - this.#headerFill);
      source.copy(this.#header, this.#headerFill, from, at);
      this.#headerFill += at - from;
      if (this.#headerFill < FRAME_HEADER_BYTES) return at;
      this.#headerFill = 0;
      header = this.#header;
      start = 0;
    } else {
      at += FRAME_HEADER_BYTES;
    }
    this.#left = readUint24(header, start);
    // The reserved bit is ignored (§4.1).
    const streamId = readUint32(header, start + 5) & 0x7fffffff;
    this.#inPayload = true;
    this.#mode = this.#sink.beginFrame(header[start + 3] as number, header[start + 4] as number, streamId, this.#left);
    return at;
  }

  #readWhole(source: Buffer, from: number): number {
    const length = this.#left;
    if (this.#collected === undefined && source.length - from >= length) {
      this.#inPayload = false;
      this.#sink.wholeFrame(source, from, from + length);
      return from + length;
    }
    this.#collected ??= Buffer.allocUnsafe(length);
    const at = Math.min(source.length, from + length - this.#collectedFill);
    source.copy(this.#collected, this.#collectedFill, from, at);
    this.#collectedFill += at - from;
    if (this.#collectedFill < length) return at;
    const payload = this.#collected;
    this.#collected = undefined;
    this.#collectedFill = 0;
    this.#inPayload = false;
    this.#sink.wholeFrame(payload, 0, length);
    return at;
  }
}
