import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createBoundedDestination, droppedLogLines } from "./log-destination.ts";

/** A pipe that nobody empties until the test does. */
function makePipe(): { writeFd: number; readAll: () => string; close: () => void } {
  const path = join(mkdtempSync(join(tmpdir(), "log-destination-")), "pipe");
  execFileSync("mkfifo", [path]);
  const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writeFd = openSync(path, constants.O_WRONLY);
  const chunk = Buffer.alloc(1 << 20);
  const readAll = (): string => {
    let text = "";
    for (;;) {
      try {
        const length = readSync(readFd, chunk);
        if (length === 0) return text;
        text += chunk.toString("latin1", 0, length);
      } catch {
        return text;
      }
    }
  };
  return { writeFd, readAll, close: () => closeSync(readFd) };
}

describe("createBoundedDestination", () => {
  it("writes lines in order", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "log-destination-")), "log");
    const destination = createBoundedDestination({ fd: openSync(path, "w") });
    for (let i = 0; i < 1_000; i++) destination.write(`${i}\n`);
    await destination.close();
    expect(readFileSync(path, "utf8")).toBe(Array.from({ length: 1_000 }, (_, i) => `${i}\n`).join(""));
    expect(destination.droppedLines).toBe(0);
  });

  it("keeps what waits when the process ends, by a blocking flush", () => {
    const path = join(mkdtempSync(join(tmpdir(), "log-destination-")), "log");
    const destination = createBoundedDestination({ fd: openSync(path, "w") });
    destination.write("last words\n");
    destination.flush();
    expect(readFileSync(path, "utf8")).toBe("last words\n");
  });

  it("drops and counts lines while the reader stands still, without blocking, and tells of it when it goes on", async () => {
    const pipe = makePipe();
    const line = `${"x".repeat(999)}\n`;
    const destination = createBoundedDestination({
      fd: pipe.writeFd,
      maxWaitingBytes: 100_000,
      onRecovered: (dropped) => `dropped ${dropped}\n`,
    });
    const before = performance.now();
    for (let i = 0; i < 2_000; i++) destination.write(line);
    expect(performance.now() - before).toBeLessThan(2_000);
    expect(destination.droppedLines).toBeGreaterThan(1_500);
    let received = "";
    while (!received.includes("dropped")) {
      received += pipe.readAll();
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
    }
    const lines = received.trimEnd().split("\n");
    const report = lines.find((one) => one.startsWith("dropped"));
    expect(report).toBe(`dropped ${destination.droppedLines}`);
    // Every line was either written or counted.
    expect(lines.filter((one) => one.startsWith("x"))).toHaveLength(2_000 - destination.droppedLines);
    pipe.close();
  });

  it("counts every line that a reader who went away does not get, and the process lives on", async () => {
    const pipe = makePipe();
    const destination = createBoundedDestination({ fd: pipe.writeFd });
    pipe.close();
    const before = droppedLogLines();
    destination.write("first\n");
    while (destination.droppedLines === 0) {
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
    }
    destination.write("second\n");
    destination.flush();
    expect(destination.droppedLines).toBe(2);
    expect(droppedLogLines() - before).toBe(2);
    await destination.close();
  });
});
