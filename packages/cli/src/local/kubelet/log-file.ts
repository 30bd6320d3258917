import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** Bytes of one file; a log keeps the current and the one before. */
const maxFileBytes = 2 * 1024 * 1024;

/** A bounded log on disk that can be followed. */
export class LogFile {
  readonly #path: string;
  readonly #followers = new Set<(chunk: Buffer) => void>();
  #fd: number;
  #size = 0;

  constructor(path: string) {
    this.#path = path;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#fd = openSync(path, "w", 0o600);
  }

  append(chunk: Buffer): void {
    writeSync(this.#fd, chunk);
    this.#size += chunk.length;
    for (const follower of this.#followers) follower(chunk);
    if (this.#size >= maxFileBytes) this.#rotate();
  }

  /** What is kept, oldest first; only the last `tailLines` lines when given. */
  read(tailLines?: number): Buffer {
    const older = existsSync(`${this.#path}.1`) ? readFileSync(`${this.#path}.1`) : Buffer.alloc(0);
    const text = Buffer.concat([older, readFileSync(this.#path)]);
    return tailLines === undefined ? text : lastLines(text, tailLines);
  }

  /** Calls back for every chunk from now on. Returns the function that ends it. */
  follow(follower: (chunk: Buffer) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  close(): void {
    closeSync(this.#fd);
    this.#followers.clear();
  }

  #rotate(): void {
    closeSync(this.#fd);
    renameSync(this.#path, `${this.#path}.1`);
    this.#fd = openSync(this.#path, "w", 0o600);
    this.#size = 0;
  }
}

function lastLines(text: Buffer, count: number): Buffer {
  const lines = text.toString("utf8").split(/(?<=\n)/);
  return Buffer.from(lines.slice(Math.max(0, lines.length - count)).join(""));
}
