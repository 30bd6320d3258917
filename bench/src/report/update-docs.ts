// Writes the newest results of bench/results into README.md (block `speed`) and docs/data-path.md (block `figures`).
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../arena/project.ts";
import { replaceBlock } from "./document-block.ts";
import type { BenchResults } from "./results.ts";
import { renderReport, renderSummary } from "./table.ts";

const folder = join(projectRoot, "bench/results");
const newest = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .sort()
  .at(-1);
if (newest === undefined) throw new Error("There are no results in bench/results: run `pnpm bench` first");
const results = JSON.parse(readFileSync(join(folder, newest), "utf8")) as BenchResults;
// The document has a title of its own.
const report = renderReport(results)
  .replace(/^# .*\n+/, "")
  .replaceAll(/^#/gm, "##");

update("README.md", "speed", renderSummary(results));
update("docs/data-path.md", "figures", `From [bench/results/${newest}](../bench/results/${newest}).\n\n${report}`);

function update(file: string, block: string, content: string): void {
  const path = join(projectRoot, file);
  writeFileSync(path, replaceBlock(readFileSync(path, "utf8"), block, content));
  console.log(`${file}: block ${block} is of ${newest}`);
}
