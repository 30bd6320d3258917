import { type Clock, systemClock } from "./clock.ts";
import { MeshError } from "./mesh-error.ts";

/**
 * The promise's outcome, or `DEADLINE_EXCEEDED` (`<what> took longer than <ms> ms`) after `ms`. The work itself goes on unless
 * it watches the signal given to it; a late rejection is swallowed, since its outcome was already told.
 */
export async function withDeadline<T>(
  what: string,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  clock: Clock = systemClock,
): Promise<T> {
  const controller = new AbortController();
  const overdue = Promise.withResolvers<never>();
  const timer = clock.setTimer(ms, () => {
    const error = new MeshError(`${what} took longer than ${ms} ms`, {
      code: "DEADLINE_EXCEEDED",
      origin: "internal",
      retryable: true,
    });
    overdue.reject(error);
    controller.abort(error);
  });
  try {
    return await Promise.race([work(controller.signal), overdue.promise]);
  } finally {
    timer.cancel();
  }
}
