const unitMs = new Map<string, number>([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["µs", 1e-3],
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
  ["w", 604_800_000],
]);

/** What {@link tryParseDuration} reads, for messages. */
export const durationSyntax = "a duration such as 100ms, 5s, 1m, 24h or 1h30m";

/**
 * Milliseconds of Istio's duration text: numbers with units ns, us, ms, s, m, h, d, w, added up (`1h30m`, `1.5s`). Undefined when
 * the text is none, or longer than 100 years. A bare number other than 0 is refused: its unit would be a guess.
 */
export function tryParseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (text.length > 64 || !/^(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h|d|w))+$/.test(text)) return undefined;
  let total = 0;
  for (const match of text.matchAll(/([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w)/g)) {
    total += Number(match[1]) * (unitMs.get(match[2] ?? "") ?? Number.NaN);
  }
  return total <= maxDurationMs ? total : undefined;
}

const maxDurationMs = 100 * 365 * 86_400_000;

/** The shortest text with one unit that reads back as the same milliseconds: `24h`, `90s`, `1500ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  for (const unit of ["h", "m", "s"] as const) {
    const size = unitMs.get(unit) ?? 1;
    if (ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}
