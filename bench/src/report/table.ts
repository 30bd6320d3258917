// Results as Markdown.
import { figures, type Figure } from "../measure/figure.ts";
import { checkAims, formatAim } from "./aims.ts";
import { figureOf, type BenchResults, type LaneResult } from "./results.ts";
import type { Summary } from "./statistics.ts";

/** Marks a figure that is not to be trusted. */
export const disturbedMark = "~";

/** Headings, and rows of as many cells, with aligned columns. */
export function markdownTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(3, heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => pad(cells[column] ?? "", width, column)).join(" | ")} |`;
  const rule = widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(headings), line(rule), ...rows.map(line)].join("\n");
}

export function formatFigure(figure: Figure, summary: Summary | undefined): string {
  if (summary === undefined) return "–";
  const number = summary.median.toLocaleString("en-US", {
    minimumFractionDigits: figure.digits,
    maximumFractionDigits: figure.digits,
  });
  return summary.disturbed ? `${number} ${disturbedMark}` : number;
}

/** Ours to another lane's, so that above 1 is always better. */
export function advantage(figure: Figure, own: Summary, other: Summary): number {
  return figure.better === "more" ? own.median / other.median : other.median / own.median;
}

interface Section {
  readonly title: string;
  readonly figures: readonly string[];
}

const sections: readonly Section[] = [
  { title: "Throughput", figures: ["gbit1", "cpuPerGbit1", "gbit8", "cpuPerGbit8"] },
  {
    title: "Requests on kept connections",
    figures: ["requestsPerSecond", "cpuPerRequest", "p50Many", "p99Many", "p50One", "p99One"],
  },
  { title: "New connections", figures: ["churnClient", "cpuPerChurnClient", "churnServer", "cpuPerChurnServer"] },
  { title: "Memory of a proxy", figures: ["rssIdle", "rss1000", "rss5000"] },
];

/** Lanes that the ratios are against. */
const references = ["naive", "ztunnel", "nginx"] as const;

/** For a reader who wants one look: the pairs of L4 proxies, and HTTP proxies. */
export function renderSummary(results: BenchResults): string {
  const { machine } = results;
  const measured = (kind: LaneResult["kind"]): readonly LaneResult[] =>
    results.lanes.filter((lane) => lane.kind === kind && Object.keys(lane.figures).length > 0);
  const pairs = ["gbit1", "cpuPerGbit1", "requestsPerSecond", "p99Many", "churnClient", "rss1000"];
  const proxies = ["requestsPerSecond", "cpuPerRequest", "p99Many", "p50One", "rss1000"];
  return [
    `\`pnpm bench\` of ${results.startedAt.slice(0, 10)}: ${machine.cores} cores shared by client, application and proxies (${machine.cpu}), Node ${machine.node}; policy, metrics and access log on. Only ratios carry over to another machine. CPU is of the proxies together; \`${disturbedMark}\` marks disturbed figures.`,
    figureTable(pairs, results, measured("tcp")),
    figureTable(proxies, results, measured("http")),
  ].join("\n\n");
}

/** The whole report. */
export function renderReport(results: BenchResults): string {
  const { machine, options } = results;
  const parts = [
    `# Bench of ${results.startedAt.slice(0, 16).replace("T", " ")} UTC`,
    `${machine.cores} cores of ${machine.cpu}, ${machine.memoryGib} GiB, Linux ${machine.kernel}, Node ${machine.node}, OpenSSL ${machine.openssl}${machine.revision === "" ? "" : `, revision ${machine.revision}`}. Client, application and proxies share the machine. Medians of ${options.repeat} × ${options.seconds} s${options.quick ? " (quick)" : ""}, ${Math.round(results.durationSeconds)} s in all. CPU is of the proxies together. \`${disturbedMark}\`: disturbed (repeats differ by more than 25 %, or other programs used the machine).`,
    ...sections.map((section) => renderSection(section, results)),
    renderRatios(results),
    renderRemarks(results.lanes),
    `## Aims\n\n\`\`\`\n${checkAims(results).map(formatAim).join("\n")}\n\`\`\``,
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

/** One table: every lane that was measured, and these figures. */
function figureTable(ids: readonly string[], results: BenchResults, lanes: readonly LaneResult[]): string {
  const shown = ids.flatMap((id) => figures.filter((figure) => figure.id === id));
  const rows = lanes.map((lane) => [
    lane.title,
    ...shown.map((figure) => formatFigure(figure, figureOf(results, lane.id, figure.id))),
  ]);
  return markdownTable(["", ...shown.map(({ label }) => label)], rows);
}

function renderSection({ title, figures: ids }: Section, results: BenchResults): string {
  const lanes = results.lanes.filter(({ figures: held }) => ids.some((id) => held[id] !== undefined));
  return lanes.length === 0 ? "" : `## ${title}\n\n${figureTable(ids, results, lanes)}`;
}

/** How many times better each lane is than the references; above 1 is better. */
function renderRatios(results: BenchResults): string {
  const tables = references.flatMap((reference) => {
    const other = results.lanes.find(({ id }) => id === reference);
    if (other === undefined || Object.keys(other.figures).length === 0) return [];
    const shown = figures.filter(({ id }) => other.figures[id] !== undefined);
    const rows = results.lanes
      .filter(({ id, kind, figures: held }) => id !== reference && kind === other.kind && Object.keys(held).length > 0)
      .map((lane) => [lane.title, ...shown.map((figure) => formatAdvantage(figure, lane, other))]);
    return rows.length === 0
      ? []
      : [`### Times better than ${other.title}\n\n${markdownTable(["", ...shown.map(({ label }) => label)], rows)}`];
  });
  return tables.length === 0
    ? ""
    : `## Ratios\n\nAbove 1 is better, whichever way the figure counts.\n\n${tables.join("\n\n")}`;
}

function formatAdvantage(figure: Figure, lane: LaneResult, other: LaneResult): string {
  const own = lane.figures[figure.id];
  const reference = other.figures[figure.id];
  if (own === undefined || reference === undefined) return "–";
  const doubt = own.disturbed || reference.disturbed ? ` ${disturbedMark}` : "";
  return `${advantage(figure, own, reference).toFixed(2)}${doubt}`;
}

function renderRemarks(lanes: readonly LaneResult[]): string {
  const lines = lanes.flatMap(({ title, absent, remark, failures }) => [
    ...(absent === undefined ? [] : [`- ${title}: not measured, ${absent}`]),
    ...(remark === undefined || remark === "" ? [] : [`- ${title}: ${remark}`]),
    ...failures.map((text) => `- ${title}: ${text}`),
  ]);
  return lines.length === 0 ? "" : `## Remarks\n\n${lines.join("\n")}`;
}

function pad(text: string, width: number, column: number): string {
  return column === 0 ? text.padEnd(width) : text.padStart(width);
}
