// Results for tests of the report.
import type { BenchResults, LaneResult } from "./results.ts";
import { summarize } from "./statistics.ts";

/** A lane whose figures were measured once, undisturbed. */
export function aLane(
  id: string,
  figures: Readonly<Record<string, number>>,
  more: Partial<LaneResult> = {},
): LaneResult {
  const summaries = Object.entries(figures).map(
    ([name, value]) => [name, summarize([{ value, foreignShare: 0 }])] as const,
  );
  return { id, title: `lane ${id}`, kind: "tcp", figures: Object.fromEntries(summaries), failures: [], ...more };
}

export function someResults(lanes: readonly LaneResult[]): BenchResults {
  return {
    startedAt: "2026-11-21T10:00:00.000Z",
    durationSeconds: 600,
    machine: {
      cpu: "some CPU",
      cores: 2,
      memoryGib: 8,
      kernel: "6.0",
      node: "26.0.0",
      openssl: "3.5.0",
      revision: "abc",
    },
    options: { seconds: 2, repeat: 3, quick: false },
    lanes,
  };
}
