// The Prometheus text format, read back.

export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly labelNames: readonly string[];
  readonly value: number;
}

export function parseMetrics(page: string): readonly Series[] {
  return page.split("\n").flatMap((line) => {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) return [];
    const [, name = "", labelText = "", value = ""] = match;
    const labels = [...labelText.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(
      ([, key = "", text = ""]) => [key, text] as const,
    );
    return [{ name, labels: Object.fromEntries(labels), labelNames: labels.map(([key]) => key), value: Number(value) }];
  });
}

/** The sum of the series of a family that carry these labels. */
export function findSeries(page: string, name: string, labels: Readonly<Record<string, string>>): number {
  return parseMetrics(page)
    .filter(
      (series) => series.name === name && Object.entries(labels).every(([key, value]) => series.labels[key] === value),
    )
    .reduce((sum, { value }) => sum + value, 0);
}
