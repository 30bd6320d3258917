import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock, Timer } from "@hairpin/shared/process";

interface PendingTimer {
  readonly due: number;
  readonly order: number;
  readonly callback: () => void;
}

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now = 0;
  #wallOffset: number;
  #order = 0;
  readonly #timers = new Set<PendingTimer>();

  constructor(wallTime: Date = new Date("2026-01-01T00:00:00Z")) {
    this.#wallOffset = wallTime.getTime();
  }

  now(): number {
    return this.#now;
  }

  wallTime(): Date {
    return new Date(this.#wallOffset + this.#now);
  }

  setTimer(ms: number, callback: () => void): Timer {
    const timer = { due: this.#now + Math.max(0, ms), order: this.#order++, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  /** Timers not yet fired nor cancelled. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Time until the next timer; undefined when none is set. */
  get nextTimerMs(): number | undefined {
    const next = this.#next();
    return next === undefined ? undefined : next.due - this.#now;
  }

  /** Moves both clocks on and fires what is due, in order; promises get a turn after each timer and at the end. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (let timer = this.#next(); timer !== undefined && timer.due <= end; timer = this.#next()) {
      this.#now = timer.due;
      this.#timers.delete(timer);
      timer.callback();
      await nextTurn();
    }
    this.#now = end;
    await nextTurn();
  }

  /** Sets the date as an operator would: timers do not notice. */
  setWallTime(date: Date): void {
    this.#wallOffset = date.getTime() - this.#now;
  }

  #next(): PendingTimer | undefined {
    let next: PendingTimer | undefined;
    for (const timer of this.#timers) {
      const isSooner =
        next === undefined || timer.due < next.due || (timer.due === next.due && timer.order < next.order);
      if (isSooner) next = timer;
    }
    return next;
  }
}
