// A program of e2e/apps that runs in a pod and tells what happens as JSON lines.

import type { RunningProgram } from "@hairpin/cli";
import { eventually } from "@hairpin/testkit";

export class ToldProgram {
  readonly #program: RunningProgram;

  constructor(program: RunningProgram) {
    this.#program = program;
  }

  /** What it has told so far. */
  get told(): readonly unknown[] {
    const text = this.#program.stdout;
    const lines = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
    return lines.filter(Boolean).map((line): unknown => JSON.parse(line));
  }

  send(line: string): void {
    this.#program.write(`${line}\n`);
  }

  /** Waits for a line that matches. */
  async find<T>(matches: (line: unknown) => line is T, timeoutMs: number = 10_000): Promise<T> {
    return await eventually(
      () => {
        const { told } = this;
        const found = told.find(matches);
        if (found !== undefined) return found;
        throw new Error(`It has not told that; it told ${JSON.stringify(told.slice(-5))}`);
      },
      { timeoutMs },
    );
  }

  /** Ends it by the end of its input. Idempotent. */
  async stop(): Promise<void> {
    await this.#program.end();
  }
}
