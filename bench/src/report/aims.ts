// What the data path is to reach (docs/data-path.md), checked against figures of one run.
import { figureOf, type BenchResults } from "./results.ts";

export interface AimResult {
  readonly text: string;
  /** Undefined: one of the two was not measured. */
  readonly ratio: number | undefined;
  readonly limit: number;
  readonly reached: boolean | undefined;
  readonly disturbed: boolean;
}

interface Aim {
  readonly text: string;
  readonly figure: string;
  readonly lane: string;
  readonly against: string;
  /** The ratio of ours to theirs may be at most, or must be at least, this. */
  readonly limit: number;
  readonly atMost: boolean;
  /** The figure is a cost: its inverse is compared. */
  readonly inverse?: boolean;
}

const ours = "hairpin-libssl";

const aims: readonly Aim[] = [
  aim("CPU-s/Gbit of our ztunnel pair ≤ 0.55 × the naive node:http2 pair's", "cpuPerGbit1", ours, "naive", 0.55, true),
  aim("CPU-s/Gbit of our ztunnel pair ≤ 1.0 × Istio's ztunnel's", "cpuPerGbit1", ours, "ztunnel", 1, true),
  aim("new connections/s (client closes) ≥ 1.0 × Istio's ztunnel's", "churnClient", ours, "ztunnel", 1, false),
  aim("new connections/s (server closes) ≥ 1.0 × Istio's ztunnel's", "churnServer", ours, "ztunnel", 1, false),
  aim("p99 with 64 connections ≤ 0.5 × Istio's ztunnel's", "p99Many", ours, "ztunnel", 0.5, true),
  {
    ...aim(
      "requests per CPU-second of our HTTP engine ≥ 0.6 × nginx's",
      "cpuPerRequest",
      "engine",
      "nginx",
      0.6,
      false,
    ),
    inverse: true,
  },
];

export function checkAims(results: BenchResults): readonly AimResult[] {
  return aims.map(({ text, figure, lane, against, limit, atMost, inverse }) => {
    const own = figureOf(results, lane, figure);
    const other = figureOf(results, against, figure);
    if (own === undefined || other === undefined)
      return { text, ratio: undefined, limit, reached: undefined, disturbed: false };
    const ratio = inverse === true ? other.median / own.median : own.median / other.median;
    const reached = atMost ? ratio <= limit : ratio >= limit;
    return { text, ratio, limit, reached, disturbed: own.disturbed || other.disturbed };
  });
}

export function formatAim({ text, ratio, reached, disturbed }: AimResult): string {
  if (ratio === undefined) return `not measured  ${text}`;
  const doubt = disturbed ? ", disturbed" : "";
  return `${reached === true ? "reached      " : "NOT reached  "} ${text} (${ratio.toFixed(2)}${doubt})`;
}

function aim(text: string, figure: string, lane: string, against: string, limit: number, atMost: boolean): Aim {
  return { text, figure, lane, against, limit, atMost };
}
