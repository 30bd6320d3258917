import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "@hairpin/shared/process";

/** Work that stops now and then, so that whoever runs it can let others in. What it reads must not change meanwhile. */
export type Sliced<T> = Generator<undefined, T, undefined>;

/** How many pods or services are dealt with between two stops: below a millisecond also when each is built anew. */
export const stopEvery = 32;

/** Without a stop. */
export function runWhole<T>(work: Sliced<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** With a turn of the event loop for others after each `sliceMs`. `busyMs` is the time without those turns. */
export async function runInSlices<T>(
  work: Sliced<T>,
  { clock, sliceMs }: { readonly clock: Clock; readonly sliceMs: number },
): Promise<{ readonly value: T; readonly busyMs: number }> {
  let busyMs = 0;
  for (let begin = clock.now(); ;) {
    const step = work.next();
    const spent = clock.now() - begin;
    if (step.done === true) return { value: step.value, busyMs: busyMs + spent };
    if (spent < sliceMs) continue;
    busyMs += spent;
    await nextTurn();
    begin = clock.now();
  }
}
