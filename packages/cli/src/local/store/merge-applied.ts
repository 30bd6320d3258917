// What `kubectl apply` does: a three-way merge, so that what a controller added stays and what the user took out goes.

type JsonObject = Readonly<Record<string, unknown>>;

/**
 * `current` with everything of `desired`; fields of `lastApplied` that `desired` no longer has are removed. Maps merge by key,
 * lists and values are replaced.
 */
export function mergeApplied(lastApplied: unknown, desired: unknown, current: unknown): unknown {
  if (!isJsonObject(desired) || !isJsonObject(current)) return desired;
  const before = isJsonObject(lastApplied) ? lastApplied : {};
  const kept = Object.entries(current).filter(([key]) => key in desired || !(key in before));
  const merged: Record<string, unknown> = Object.fromEntries(kept);
  for (const [key, value] of Object.entries(desired))
    merged[key] = key in current ? mergeApplied(before[key], value, current[key]) : value;
  return merged;
}

function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
