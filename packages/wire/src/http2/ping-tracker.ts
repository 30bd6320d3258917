import { writeUint32 } from "./frame.ts";
import type { SessionStats } from "./session-stats.ts";

/** Our PINGs that wait for an answer. */
export class PingTracker {
  readonly #stats: SessionStats;
  readonly #waiting: { readonly payload: Buffer; readonly onAck: () => void }[] = [];
  #number = 0;

  constructor(stats: SessionStats) {
    this.#stats = stats;
  }

  get count(): number {
    return this.#waiting.length;
  }

  /** The payload of a new PING. */
  add(onAck: () => void): Buffer {
    const payload = Buffer.alloc(8);
    writeUint32(payload, 4, ++this.#number);
    this.#waiting.push({ payload, onAck });
    this.#stats.unansweredPings = this.#waiting.length;
    return payload;
  }

  /** An ack came; false when nobody asked for it. */
  acknowledge(source: Buffer, start: number, end: number): boolean {
    const at = this.#waiting.findIndex(({ payload }) => source.compare(payload, 0, 8, start, end) === 0);
    if (at < 0) return false;
    const [ping] = this.#waiting.splice(at, 1);
    this.#stats.unansweredPings = this.#waiting.length;
    ping?.onAck();
    return true;
  }
}
