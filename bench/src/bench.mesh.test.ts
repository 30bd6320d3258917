import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";

const main = `${import.meta.dirname}/main.ts`;
const isRoot = process.getuid?.() === 0;

interface Ended {
  readonly exitCode: number;
  readonly output: string;
}

async function bench(...words: readonly string[]): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const child = execFile(process.execPath, [main, ...words], (_, stdout, stderr) =>
    resolve({ exitCode: child.exitCode ?? 1, output: stdout + stderr }),
  );
  return await promise;
}

const leftovers = (): readonly string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("hairpin-bench-"));

describe("the bench", () => {
  it("measures lanes with and without a mesh, and leaves nothing behind", async () => {
    const before = leftovers();
    const lanes = ["direct", "pipe", "naive", "hairpin-node-tls", "engine", "whole-node-tls"];
    const { exitCode, output } = await bench(
      "--quick",
      "--seconds",
      "0.2",
      "--only",
      [...lanes, "requests", "churn"].join(),
    );
    if (!isRoot) {
      expect(output).toContain("run it as root");
      return;
    }
    expect(exitCode, output).toBe(0);
    expect(output).not.toMatch(/not measured, |failed: /);
    const requests = output.slice(output.indexOf("## Requests"), output.indexOf("## New connections"));
    expect(requests.match(/^\| (?:\w|→)[^|]*\| +[\d,]+ ~? *\|/gm)).toHaveLength(lanes.length);
    expect(leftovers()).toEqual(before);
  }, 120_000);

  it("says which names there are when it is asked for another", async () => {
    const { exitCode, output } = await bench("--only", "nonsense");
    expect(output).toContain("--only knows no nonsense; there are direct, pipe");
    expect(exitCode).toBe(64);
  });
});
