import { lanes } from "./lane/catalog.ts";
import type { Lane } from "./lane/lane.ts";
import { type Measure, measures } from "./measure/measures.ts";
import { UsageError } from "./options.ts";

/** What a run is about. */
export interface Selection {
  readonly lanes: readonly Lane[];
  readonly measures: readonly Measure[];
}

/**
 * The lanes and measures with these names; of a kind that none is named of, all. Throws {@link UsageError} for a name that is
 * neither a lane's nor a measure's.
 */
export function select(names: readonly string[]): Selection {
  const known = [...lanes, ...measures].map(({ id }) => id);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new UsageError(`--only knows no ${unknown.join(", ")}; there are ${known.join(", ")}`);
  return { lanes: pick(lanes, names), measures: pick(measures, names) };
}

/** Those that are named, or all when none is. */
export function pick<T extends { readonly id: string }>(all: readonly T[], names: readonly string[]): readonly T[] {
  const named = all.filter(({ id }) => names.includes(id));
  return named.length === 0 ? all : named;
}
