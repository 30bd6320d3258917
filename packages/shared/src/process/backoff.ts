const jitter = 0.2;

/**
 * The wait after the `failures`-th failure in a row (1 is the first): `firstMs`, doubled each time, ±20 % so that many do not
 * come back together, never above `maxMs`. `random` gives [0, 1).
 */
export function backoffMs(
  failures: number,
  bounds: { readonly firstMs: number; readonly maxMs: number },
  random: () => number,
): number {
  const base = Math.min(bounds.maxMs, bounds.firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.min(bounds.maxMs, base * (1 - jitter + 2 * jitter * random()));
}
