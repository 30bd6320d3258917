/** As ztunnel's certificate retries: about 1 s, doubled each time, ±20 %, never above 150 s. */
const firstMs = 1_000;
const maxMs = 150_000;
const jitter = 0.2;

/** The wait after the `failures`-th failure in a row (1 is the first). `random` gives [0, 1). */
export function backoffMs(failures: number, random: () => number): number {
  const base = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.min(maxMs, base * (1 - jitter + 2 * jitter * random()));
}
