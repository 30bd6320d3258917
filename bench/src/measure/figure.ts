// What the bench measures, as a table: names, units, and which way is better.

export interface Figure {
  readonly id: string;
  /** Heading of its column. */
  readonly label: string;
  readonly better: "more" | "less";
  readonly digits: number;
}

const figure = (id: string, label: string, better: Figure["better"], digits: number): Figure => ({
  id,
  label,
  better,
  digits,
});

export const figures: readonly Figure[] = [
  figure("gbit1", "Gbit/s, 1 stream", "more", 2),
  figure("cpuPerGbit1", "CPU-s/Gbit", "less", 3),
  figure("gbit8", "Gbit/s, 8 streams", "more", 2),
  figure("cpuPerGbit8", "CPU-s/Gbit, 8 streams", "less", 3),
  figure("requestsPerSecond", "requests/s, 64 conn.", "more", 0),
  figure("cpuPerRequest", "CPU µs/request", "less", 1),
  figure("p50Many", "p50 µs, 64 conn.", "less", 0),
  figure("p99Many", "p99 µs, 64 conn.", "less", 0),
  figure("p50One", "p50 µs, 1 conn.", "less", 0),
  figure("p99One", "p99 µs, 1 conn.", "less", 0),
  figure("churnClient", "new conn./s, client closes", "more", 0),
  figure("cpuPerChurnClient", "CPU µs/conn.", "less", 0),
  figure("churnServer", "new conn./s, server closes", "more", 0),
  figure("cpuPerChurnServer", "CPU µs/conn., server closes", "less", 0),
  figure("rssIdle", "MiB a proxy, idle", "less", 0),
  figure("rss1000", "MiB, 1,000 conn.", "less", 0),
  figure("rss5000", "MiB, 5,000 conn.", "less", 0),
];

export type Figures = Readonly<Record<string, number>>;
