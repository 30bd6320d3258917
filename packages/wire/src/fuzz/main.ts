// `pnpm fuzz -- --minutes N [--target NAME] [--seed S] [--input FILE]`: the long form of fuzz.test.ts, guided by coverage.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CoverageMeter } from "./coverage-meter.ts";
import { fuzz, type FuzzFinding, type FuzzTarget } from "./fuzz.ts";
import { fuzzTargets } from "./targets.ts";

const { values } = parseArgs({
  // pnpm passes the `--` on.
  args: process.argv.slice(2).filter((argument) => argument !== "--"),
  options: {
    minutes: { type: "string", default: "1" },
    target: { type: "string" },
    seed: { type: "string" },
    input: { type: "string" },
  },
});
const minutes = Number(values.minutes);
const seed = values.seed === undefined ? (Date.now() & 0x7fffffff) >>> 0 : Number(values.seed);
const targets = fuzzTargets.filter(({ name }) => values.target === undefined || name === values.target);
if (targets.length === 0 || !(minutes > 0) || !Number.isInteger(seed)) {
  console.error(
    `--minutes takes a number, --seed a whole number, --target one of ${fuzzTargets.map(({ name }) => name).join(", ")}`,
  );
  process.exit(64);
}

for (const target of targets) {
  if (values.input !== undefined) target.run(readFileSync(values.input));
  else if (targets.length > 1) fuzzInOwnProcess(target);
  else fuzzForMinutes(target);
}

/** V8 counts blocks anew only in a process where nothing was optimised without counters. */
function fuzzInOwnProcess(target: FuzzTarget): void {
  const options = ["--target", target.name, "--minutes", String(minutes), "--seed", String(seed)];
  const { status } = spawnSync(process.execPath, [import.meta.filename, ...options], { stdio: "inherit" });
  if (status !== 0) process.exitCode = 1;
}

function fuzzForMinutes(target: FuzzTarget): void {
  const coverage = new CoverageMeter("/packages/wire/src/", "/fuzz/");
  const start = performance.now();
  const end = start + minutes * 60_000;
  const report = fuzz(target, { seed, coverage, goOn: () => performance.now() < end });
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `${target.name}: ${report.executions} executions in ${seconds.toFixed(0)} s, seed ${seed}, ` +
      `${report.keptInputs} inputs reached new code, ${coverage.coveredBytes} bytes of source covered`,
  );
  coverage.close();
  if (report.finding !== undefined) reportFinding(target, report.finding);
}

function reportFinding(target: FuzzTarget, finding: FuzzFinding): void {
  const file = join(mkdtempSync(join(tmpdir(), "hairpin-fuzz-")), `${target.name}.bin`);
  writeFileSync(file, finding.input);
  console.error(finding.error);
  console.error(`Again by: pnpm fuzz -- --target ${target.name} --input ${file}`);
  process.exitCode = 1;
}
