import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { launcherElf } from "./launcher.ts";

const own = process.arch === "arm64" ? "arm64" : "x64";

describe("launcherElf", () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "launcher-"));
    path = join(folder, "launcher");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function install(command: readonly string[], failure = ""): void {
    writeFileSync(path, launcherElf({ architecture: own, command, failure }));
    chmodSync(path, 0o755);
  }

  it("executes its program with its arguments, and with the environment and input it was given", () => {
    install([
      process.execPath,
      "-e",
      "process.stdout.write(process.argv[1] + process.env.WORD + fs.readFileSync(0))",
      "a b",
    ]);
    const output = execFileSync(path, ["these", "are", "dropped"], {
      env: { WORD: "ä" },
      input: "in",
      encoding: "utf8",
    });
    expect(output).toBe("a bäin");
  });

  it("passes the exit code on", () => {
    install([process.execPath, "-e", "process.exit(7)"]);
    expect(spawnSync(path).status).toBe(7);
  });

  it("says so when its program is not there", () => {
    install(["/nowhere/program"], '{"msg":"fort"}');
    const { status, stdout } = spawnSync(path, { encoding: "utf8" });
    expect(status).toBe(1);
    expect(stdout).toBe('{"msg":"fort"}');
  });

  it("is small, and names its machine", () => {
    const elf = (architecture: "x64" | "arm64") =>
      Buffer.from(launcherElf({ architecture, command: ["/bin/true"], failure: "no" }));
    expect(elf("x64").readUInt16LE(18)).toBe(62);
    expect(elf("arm64").readUInt16LE(18)).toBe(183);
    expect(elf("arm64").length).toBeLessThan(400);
  });

  it("refuses what does not fit", () => {
    expect(() => launcherElf({ architecture: own, command: ["x".repeat(40_000)], failure: "" })).toThrow("larger");
  });
});
