// The two sides of RFC 9113 §5.2. Both classes only count.

import { MAX_WINDOW_SIZE } from "./frame.ts";

/** What we allow the peer to send, on a stream or on the connection. */
export class ReceiveWindow {
  /** What the peer may still send. Negative for a while when our SETTINGS made the window smaller. */
  #remaining: number;
  /** Taken by the consumer and not yet given back to the peer. */
  #owed = 0;

  constructor(size: number) {
    this.#remaining = size;
  }

  get remaining(): number {
    return this.#remaining;
  }

  /** Received bytes; false when the peer sent more than it was allowed. */
  take(bytes: number): boolean {
    this.#remaining -= bytes;
    return this.#remaining >= 0;
  }

  /** The consumer took bytes. */
  release(bytes: number): void {
    this.#owed += bytes;
  }

  /**
   * The increment of a WINDOW_UPDATE that is due now, or 0. Due as soon as as much is owed as is left: with nothing held that is
   * every half window, and with much held the peer is still never stopped for want of an update.
   */
  takeDueUpdate(): number {
    const due = this.#owed;
    if (due === 0 || due < this.#remaining) return 0;
    this.#owed = 0;
    this.#remaining += due;
    return due;
  }

  /** The window's size changed (SETTINGS acknowledged, or the connection's window opened at the start). */
  resize(delta: number): void {
    this.#remaining += delta;
  }
}

/** What the peer allows us to send. */
export class SendWindow {
  /** May be negative after a SETTINGS change (§6.9.2). */
  available: number;

  constructor(size: number) {
    this.available = size;
  }

  /** WINDOW_UPDATE or a new initial size; false beyond 2^31-1. */
  grow(delta: number): boolean {
    this.available += delta;
    return this.available <= MAX_WINDOW_SIZE;
  }
}
