import type { ToldProgram } from "./told-program.ts";

interface HoldEvent {
  readonly event: "open" | "line" | "end";
  readonly at: number;
  readonly text?: string;
  readonly how?: string;
}

/** One TCP connection that a pod keeps open (apps/hold.ts). */
export class HeldConnection {
  readonly #program: ToldProgram;
  #sent = 0;

  constructor(program: ToldProgram) {
    this.#program = program;
  }

  /** Resolves when it is open, or has failed. */
  async settled(): Promise<void> {
    await this.#program.find((line): line is HoldEvent => isEvent(line, "open") || isEvent(line, "end"));
  }

  get #events(): readonly HoldEvent[] {
    return this.#program.told as readonly HoldEvent[];
  }

  /** How it ended: `fin` or an error code. Undefined: it is open. */
  get ended(): string | undefined {
    return this.#events.find(({ event }) => event === "end")?.how;
  }

  get lines(): readonly string[] {
    return this.#events.filter(({ event }) => event === "line").map(({ text = "" }) => text);
  }

  /** Sends a line of its own and waits for the server's repetition; gives that. */
  async echo(timeoutMs = 5000): Promise<string> {
    const text = `ping-${++this.#sent}`;
    this.#program.send(text);
    const found = await this.#program.find(
      (line): line is HoldEvent =>
        isEvent(line, "end") || (isEvent(line, "line") && line.text?.endsWith(text) === true),
      timeoutMs,
    );
    if (found.event === "end") throw new Error(`The connection ended: ${found.how}`);
    return found.text ?? "";
  }

  /** Waits for a line from the server. */
  async line(wanted: RegExp): Promise<void> {
    await this.#program.find((line): line is HoldEvent => isEvent(line, "line") && wanted.test(line.text ?? ""));
  }

  /** Waits for its end; when and how. */
  async end(timeoutMs = 10_000): Promise<{ readonly at: number; readonly how: string }> {
    const { at, how = "" } = await this.#program.find((line): line is HoldEvent => isEvent(line, "end"), timeoutMs);
    return { at, how };
  }

  async close(): Promise<void> {
    await this.#program.stop();
  }
}

function isEvent(line: unknown, event: HoldEvent["event"]): line is HoldEvent {
  return (line as HoldEvent).event === event;
}
