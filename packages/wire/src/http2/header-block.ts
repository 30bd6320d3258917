import { ErrorCode, ConnectionFault } from "./error.ts";
import type { LimitGuard } from "./limit-guard.ts";
import type { ResolvedHttp2Options } from "./options.ts";
import type { SessionStats } from "./session-stats.ts";

/** Collects a header block that is spread over HEADERS and CONTINUATION frames, within its limits (CVE-2024-27316 and kin). */
export class HeaderBlock {
  readonly #options: ResolvedHttp2Options;
  readonly #stats: SessionStats;
  readonly #guard: LimitGuard;
  #bytes: Buffer = Buffer.alloc(0);
  #continuations = 0;
  /** 0: none is open. */
  streamId = 0;
  endStream = false;

  constructor(options: ResolvedHttp2Options, stats: SessionStats, guard: LimitGuard) {
    this.#options = options;
    this.#stats = stats;
    this.#guard = guard;
  }

  /** Asked before a frame's payload is read, so that an oversized one is never collected. */
  checkLength(length: number): void {
    if (this.#bytes.length + length <= this.#options.maxHeaderBlockBytes + FRAMING_ALLOWANCE) return;
    this.#guard.hit("headerBlockBytes");
    throw new ConnectionFault(
      ErrorCode.ENHANCE_YOUR_CALM,
      `A header block is larger than ${this.#options.maxHeaderBlockBytes} bytes`,
    );
  }

  open(streamId: number, endStream: boolean, source: Buffer, start: number, end: number): void {
    this.streamId = streamId;
    this.endStream = endStream;
    this.#bytes = Buffer.from(source.subarray(start, end));
    this.#continuations = 0;
  }

  append(source: Buffer, start: number, end: number): void {
    if (++this.#continuations > this.#options.maxContinuationFrames) {
      this.#guard.hit("continuationFrames");
      throw new ConnectionFault(
        ErrorCode.ENHANCE_YOUR_CALM,
        `A header block has more than ${this.#options.maxContinuationFrames} CONTINUATION frames`,
      );
    }
    this.#bytes = Buffer.concat([this.#bytes, source.subarray(start, end)]);
  }

  /** The first frame of a block is coming; the rest of the frame may take its time. */
  begin(): void {
    this.#stats.headerBlocksBegun++;
    this.#stats.headerBlockOpen = true;
  }

  /** The block is read to its end. */
  end(): void {
    this.#stats.headerBlockOpen = false;
  }

  /** The whole block; the collector is empty again. */
  finish(): Buffer {
    const block = this.#bytes;
    this.#bytes = Buffer.alloc(0);
    this.streamId = 0;
    return block;
  }
}

/** Padding and priority fields that a HEADERS payload may have besides its fragment: 1 + 255 + 5. */
const FRAMING_ALLOWANCE = 261;
