import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fuzz, type FuzzTarget } from "./fuzz.ts";
import { fuzzTargets } from "./targets.ts";

const testdata = join(import.meta.dirname, "testdata");
/** Each seed gets this many inputs, or this long on a machine that is busy. */
const executions = 5000;
const longestMs = 4000;

function expectNoFinding(target: FuzzTarget, seed: number): void {
  const end = performance.now() + longestMs;
  const { finding } = fuzz(target, { seed, goOn: (done) => done < executions && performance.now() < end });
  if (finding === undefined) return;
  const input = Buffer.from(finding.input).toString("base64");
  throw new Error(`Target ${target.name}, seed ${seed}: input ${input} (base64)`, { cause: finding.error });
}

describe.each(fuzzTargets)("fuzzing $name", (target) => {
  it("finds nothing with a fixed seed", { timeout: 60_000 }, () => expectNoFinding(target, 1));

  it("finds nothing with a random seed", { timeout: 60_000 }, ({ annotate }) => {
    const seed = (Math.random() * 0x7fffffff) >>> 0;
    void annotate(`seed ${seed}`);
    expectNoFinding(target, seed);
  });
});

describe("inputs that once showed a fault", () => {
  it.each(readdirSync(testdata))("%s shows none any more", (file) => {
    const target = fuzzTargets.find(({ name }) => file.startsWith(`${name}.`));
    expect(target).toBeDefined();
    target?.run(readFileSync(join(testdata, file)));
  });
});

describe("the fuzzer itself", () => {
  const broken: FuzzTarget = {
    name: "broken",
    seeds: [Buffer.from("GET / HTTP/1.1")],
    dictionary: [Buffer.from("MAGIC")],
    run: (input) => {
      if (Buffer.from(input).includes("MAGIC")) throw new Error("found");
    },
  };

  it("finds a planted fault, makes its input small, and does so again with the same seed", () => {
    const options = { seed: 5, goOn: (done: number) => done < 10_000 };
    const report = fuzz(broken, options);
    expect(Buffer.from(report.finding?.input ?? []).toString()).toBe("MAGIC");
    expect(fuzz(broken, options)).toEqual(report);
  });
});
