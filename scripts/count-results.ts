// Adds up what the runners of .ci/run reported in a folder: NAME.exit (exit code) and, for vitest, NAME.json (its JSON report).
// Prints a row per runner and ends with "N passed, N failed"; exits 1 unless everything passed and something ran.
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTotalTests: number;
  readonly success: boolean;
}

/** As automake's tests say it. */
const skippedExitCode = 77;
const folder = process.argv[2] ?? "";
let passed = 0;
let failed = 0;
let skipped = 0;

for (const exitFile of globSync("*.exit", { cwd: folder }).sort()) {
  const name = basename(exitFile, ".exit");
  const code = Number(readFileSync(join(folder, exitFile), "utf8"));
  const reportPath = join(folder, `${name}.json`);
  const report: VitestReport | undefined = existsSync(reportPath)
    ? JSON.parse(readFileSync(reportPath, "utf8"))
    : undefined;
  const row = report ? countTests(code, report) : countCommand(code);
  console.log(`${name.padEnd(8)} exit ${code}  ${row.passed} passed, ${row.failed} failed, ${row.skipped} skipped`);
  passed += row.passed;
  failed += row.failed;
  skipped += row.skipped;
}

/** A command without a report: it passed, said that it cannot run here, or failed. */
function countCommand(code: number): { passed: number; failed: number; skipped: number } {
  if (code === skippedExitCode) return { passed: 0, failed: 0, skipped: 1 };
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

/** A suite that broke outside a test (an import, an unhandled rejection) fails the run although no test is red. */
function countTests(code: number, report: VitestReport): { passed: number; failed: number; skipped: number } {
  const brokenOutsideTests = (code !== 0 || !report.success) && report.numFailedTests === 0 ? 1 : 0;
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + brokenOutsideTests,
    skipped: report.numPendingTests,
  };
}

console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
