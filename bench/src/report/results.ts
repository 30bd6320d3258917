import type { Machine } from "./machine.ts";
import type { Summary } from "./statistics.ts";

/** What became of one lane. */
export interface LaneResult {
  readonly id: string;
  readonly title: string;
  readonly kind: "tcp" | "http";
  /** Why it was not measured. */
  readonly absent?: string;
  /** Of versions and engines. */
  readonly remark?: string;
  /** By id of the figure. */
  readonly figures: Readonly<Record<string, Summary>>;
  /** Measures that failed, with the reason. */
  readonly failures: readonly string[];
}

/** One run, as it is kept in bench/results. */
export interface BenchResults {
  /** ISO 8601. */
  readonly startedAt: string;
  readonly durationSeconds: number;
  readonly machine: Machine;
  readonly options: { readonly seconds: number; readonly repeat: number; readonly quick: boolean };
  readonly lanes: readonly LaneResult[];
}

/** The median of a figure; undefined when it was not measured. */
export function figureOf(results: BenchResults, lane: string, figure: string): Summary | undefined {
  return results.lanes.find(({ id }) => id === lane)?.figures[figure];
}
