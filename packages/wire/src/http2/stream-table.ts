import { ConnectionFault, ErrorCode } from "./error.ts";
import type { LimitGuard } from "./limit-guard.ts";
import type { Http2Role } from "./options.ts";
import type { SessionStats } from "./session-stats.ts";
import type { EngineStream } from "./stream.ts";

/** The streams that are open or half closed, and what is known of the ids of all others (idle, closed, reset by us). */
export class StreamTable {
  /** The id of the next stream we open. */
  nextOwnId = 1;
  /** The highest id the peer used, whatever became of it. */
  lastPeerId = 0;
  readonly #role: Http2Role;
  readonly #stats: SessionStats;
  readonly #guard: LimitGuard;
  readonly #rememberedResets: number;
  readonly #streams = new Map<number, EngineStream>();
  /** Streams we reset: what the peer sent before it knew is ignored. In order of reset. */
  readonly #resetByUs = new Set<number>();

  constructor(role: Http2Role, stats: SessionStats, guard: LimitGuard, rememberedResets: number) {
    this.#role = role;
    this.#stats = stats;
    this.#guard = guard;
    this.#rememberedResets = rememberedResets;
  }

  get size(): number {
    return this.#streams.size;
  }

  values(): MapIterator<EngineStream> {
    return this.#streams.values();
  }

  get(id: number): EngineStream | undefined {
    return this.#streams.get(id);
  }

  add(stream: EngineStream): void {
    this.#streams.set(stream.id, stream);
    this.#stats.openStreams = this.#streams.size;
    this.#stats.streamsOpened++;
  }

  remove(stream: EngineStream): void {
    stream.detached = true;
    this.#streams.delete(stream.id);
    this.#stats.openStreams = this.#streams.size;
  }

  rememberReset(id: number): void {
    this.#resetByUs.add(id);
    if (this.#resetByUs.size <= this.#rememberedResets) return;
    for (const oldest of this.#resetByUs) {
      this.#resetByUs.delete(oldest);
      return;
    }
  }

  /** For frames that may come late for a closed stream, but never for one that was not opened (§5.1). */
  find(frame: string, id: number): EngineStream | undefined {
    const stream = this.#streams.get(id);
    if (stream === undefined) this.#checkNotIdle(frame, id);
    return stream;
  }

  /** DATA or HEADERS for a stream that is gone: forgiven when we reset it, since the peer could not know. */
  checkStray(frame: string, id: number): void {
    this.#checkNotIdle(frame, id);
    if (!this.#resetByUs.has(id)) {
      throw new ConnectionFault(ErrorCode.STREAM_CLOSED, `${frame} on stream ${id}, which is closed`);
    }
    this.#guard.spend("ignoredFrames");
  }

  #checkNotIdle(frame: string, id: number): void {
    const opened = id % 2 === 1 && (this.#role === "server" ? id <= this.lastPeerId : id < this.nextOwnId);
    if (!opened) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, `${frame} on stream ${id}, which is idle`);
  }
}
