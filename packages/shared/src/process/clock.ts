/** A timer that has been set. */
export interface Timer {
  /** Harmless when it has fired. */
  cancel(): void;
}

/** Time as a dependency, so that tests move it by hand (testkit's ManualClock). */
export interface Clock {
  /** Milliseconds on a clock that never jumps; only differences mean something. */
  now(): number;
  /** The date, which may jump: for certificates, tokens and log lines only. */
  wallTime(): Date;
  /**
   * Calls back once after `ms`. Longer than 2^31 - 1 ms is allowed (Node alone would fire at once). Pending timers keep the
   * process alive unless `background`.
   */
  setTimer(ms: number, callback: () => void, options?: { readonly background?: boolean }): Timer;
}

const maxNodeTimeoutMs = 2 ** 31 - 1;

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => new Date(),
  setTimer(ms, callback, options) {
    let left = Math.max(0, ms);
    let handle: NodeJS.Timeout | undefined;
    const step = (): void => {
      const part = Math.min(left, maxNodeTimeoutMs);
      left -= part;
      handle = setTimeout(left > 0 ? step : callback, part);
      if (options?.background === true) handle.unref();
    };
    step();
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
export async function delay(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = clock.setTimer(ms, resolve);
  const onAbort = (): void => {
    timer.cancel();
    reject(signal?.reason);
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await promise;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}
