/** Picks one of the items by weight; undefined when all weights are zero. `random` gives a number from 0 up to 1. */
export function splitTraffic<T extends { readonly weight: number }>(
  items: readonly T[],
  random: () => number,
): T | undefined {
  const total = items.reduce((sum, { weight }) => sum + weight, 0);
  let left = random() * total;
  for (const item of items) {
    if (item.weight > 0 && left < item.weight) return item;
    left -= item.weight;
  }
  // Rounding may leave a hair beyond the last one.
  return items.findLast(({ weight }) => weight > 0);
}
