// What `up` shows while it works: one line that changes on a terminal, a line for each step otherwise.

import type { ProgressLine } from "../local/daemon/lifeline.ts";

const clearLine = "\r\u001B[2K";

export class ProgressView {
  readonly #out: NodeJS.WriteStream;
  readonly #startedAtMs = performance.now();
  #current = "";

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  show(line: ProgressLine): void {
    if (line.type === "warning") this.#print(`! ${line.text}`);
    else if (line.type === "step") this.#step(line.text);
  }

  /** The last step is done. */
  finish(): void {
    this.#step("");
  }

  #step(text: string): void {
    const seconds = ((performance.now() - this.#startedAtMs) / 1000).toFixed(1);
    if (!this.#out.isTTY) {
      if (text !== "") this.#out.write(`[${seconds} s] ${text}\n`);
      return;
    }
    if (this.#current !== "") this.#out.write(`${clearLine}✓ ${this.#current}\n`);
    this.#current = text;
    if (text !== "") this.#out.write(`… ${text}`);
  }

  #print(text: string): void {
    this.#out.write(`${this.#out.isTTY ? clearLine : ""}${text}\n`);
    if (this.#out.isTTY && this.#current !== "") this.#out.write(`… ${this.#current}`);
  }
}
