// The scenarios of e2e/ and where each runs, read from the text of their files; docs/scenarios.md is made of it. Text patterns
// suffice because the formatter writes `describe` and `it` in one way only.
import type { SourceFile } from "./read-sources.ts";

export interface Scenario {
  /** Its describe's name. */
  readonly group: string;
  /** With … for what a table fills in. */
  readonly name: string;
  /** Why it is skipped in a cluster. */
  readonly onlyLocal?: string;
}

const literal = '("(?:[^"\\\\]|\\\\.)*"|`[^`]*`)';
const table = String.raw`\.each(?:<[^\n]*?>)?\([\s\S]*?\]\)`;
const titlePattern = new RegExp(
  `^(?:(?<describe>describe)\\(\\s*${literal}|(?<locally>describeLocally)\\(\\s*${literal},\\s*${literal}|(?: {2})?it(?:${table})?\\(\\s*${literal})`,
  "gm",
);

/** Scenarios in their order. */
export function readScenarios(text: string): readonly Scenario[] {
  const scenarios: Scenario[] = [];
  let group: Omit<Scenario, "name"> = { group: "" };
  for (const { groups = {}, 2: described, 4: local, 5: why, 6: title } of text.matchAll(titlePattern)) {
    if (groups["describe"] !== undefined) group = { group: unquote(described) };
    else if (groups["locally"] !== undefined) group = { group: unquote(local), onlyLocal: unquote(why) };
    else scenarios.push({ ...group, name: unquote(title) });
  }
  return scenarios;
}

function unquote(quoted = ""): string {
  const text = quoted.startsWith('"') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
  return text.replaceAll(/%[sidoj]|\$\w+/g, "…");
}

const introduction = `# Scenarios

What \`e2e/\` tries, and where. One list, two backends: a file \`*.mesh.test.ts\` runs in the local mesh and in a cluster, from the same
manifests; a file \`*.cluster.test.ts\` is about what only a cluster has: kubelets, a chart, replicas, nodes. How to run them:
[e2e/README.md](../e2e/README.md).

This page is made from those files: \`vitest run --project unit scripts/docs/scenario-table -u\` writes it, and without \`-u\` a test fails
when it is not up to date.
`;

/** The whole page. */
export function formatScenarioPage(files: readonly SourceFile[]): string {
  const sections = files.map(({ path, text }) => {
    const local = !path.endsWith(".cluster.test.ts");
    const rows = readScenarios(text).map(({ group, name, onlyLocal }) => [
      `${group} ${name}`,
      local ? "yes" : "no",
      onlyLocal === undefined ? "yes" : `no: ${onlyLocal}`,
    ]);
    return `## ${path}\n\n${formatTable([["scenario", "local mesh", "cluster"], ...rows])}`;
  });
  return [introduction, ...sections].join("\n");
}

function formatTable(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map((cell) => cell.replaceAll("|", String.raw`\|`)));
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const lines = cells.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`);
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [lines[0], rule, ...lines.slice(1), ""].join("\n");
}
