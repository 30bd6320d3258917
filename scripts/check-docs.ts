// Checks that docs/ and the code name the same things: metrics, settings, error codes, CONNECT headers, commands and their
// options each have a row, and no row names what is not there. Also that relative links in Markdown lead somewhere.
// Prints every breach as file:line; exits 1 when there is one.
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { readAnchors, readLinks, readRows, type Row } from "./docs/read-markdown.ts";
import { type Defined, findDefined, type SourceFile, type Topic } from "./docs/read-sources.ts";

interface Listing {
  readonly file: string;
  /** Title of the first column of the tables that list the topic. */
  readonly column: string;
  readonly what: string;
  /** Rows of names that are no text of ours. */
  readonly foreign?: RegExp;
}

const listings: Readonly<Record<Exclude<Topic, "commands">, Listing>> = {
  // prom-client's.
  metrics: { file: "docs/metrics.md", column: "metric", what: "metric", foreign: /^(process|nodejs)_/ },
  settings: { file: "docs/config.md", column: "variable", what: "environment variable" },
  errors: { file: "docs/errors.md", column: "code", what: "error code" },
  headers: { file: "docs/hbone.md", column: "header", what: "header" },
};
const commandsFile = "docs/config.md";
const notSources = /\.test\.ts$|\/test(ing|-support|data)\/|\.test-support\.ts$|\/gen\/|^packages\/testkit\//;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const breaches: string[] = [];

const sources = globSync("packages/*/src/**/*.ts", { cwd: root })
  .filter((path) => !notSources.test(path))
  .toSorted()
  .map((path): SourceFile => ({ path, text: readText(path) }));
const defined = findDefined(sources);
for (const [topic, listing] of Object.entries(listings))
  compare(listing, defined[topic as Exclude<Topic, "commands">], readRows(readText(listing.file), listing.column));
checkCommands(defined.commands);
checkLinks();

for (const breach of breaches.toSorted()) console.error(breach);
console.log(breaches.length === 0 ? "Docs and code agree" : `${breaches.length} breaches between docs and code`);
process.exit(breaches.length === 0 ? 0 : 1);

function compare(
  { file, what, foreign }: Pick<Listing, "file" | "what" | "foreign">,
  wanted: readonly Defined[],
  rows: readonly Row[],
): void {
  const listed = new Set(rows.map(({ name }) => name));
  const known = new Set(wanted.map(({ name }) => name));
  for (const { name, where } of wanted)
    if (!listed.has(name)) breaches.push(`${where}: ${what} ${name} has no row in ${file}`);
  for (const { name, line } of rows)
    if (!known.has(name) && foreign?.test(name) !== true)
      breaches.push(`${file}:${line}: ${what} ${name} is not in the code`);
}

/** A command has a heading of its own; its options are the rows of the table below it. */
function checkCommands(wanted: readonly Defined[]): void {
  const rows = readRows(readText(commandsFile), "option").map((row) => ({
    ...row,
    name: `${row.heading} ${/--[a-z0-9-]+/.exec(row.name)?.[0] ?? row.name}`,
  }));
  const headings = [...readText(commandsFile).matchAll(/^### `(hairpin [a-z]+)`$/gm)].map((match) => ({
    name: match[1] ?? "",
    line: readText(commandsFile).slice(0, match.index).split("\n").length,
    heading: "",
  }));
  compare({ file: commandsFile, what: "command or option" }, wanted, [...headings, ...rows]);
}

function checkLinks(): void {
  const pages = globSync("**/*.md", { cwd: root, exclude: ["**/node_modules/**", ".toolchain/**"] });
  for (const page of pages) {
    for (const { target, line } of readLinks(readText(page))) {
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? page : relative(root, join(root, dirname(page), normalize(path)));
      if (!existsSync(join(root, file))) breaches.push(`${page}:${line}: link to ${target}: there is no ${file}`);
      else if (anchor !== undefined && file.endsWith(".md") && !readAnchors(readText(file)).has(anchor))
        breaches.push(`${page}:${line}: link to ${target}: ${file} has no heading for it`);
    }
  }
}

function readText(path: string): string {
  return existsSync(join(root, path)) ? readFileSync(join(root, path), "utf8") : "";
}
