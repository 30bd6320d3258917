// The load generator (bench/load): compiled at first use, run inside a client's namespace.
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";
import { inside, type Host } from "./network.ts";
import { startProgram, type Program } from "./program.ts";
import { runCommand } from "./run-command.ts";

/** Where a client sends its load: the address it dials and the ports of the application, used in turn. */
export interface Target {
  readonly ip: string;
  readonly ports: string;
}

export interface RequestsResult {
  readonly requests: number;
  readonly seconds: number;
  /** With those of the warm-up. */
  readonly allRequests: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

export interface ChurnResult {
  readonly connections: number;
  readonly seconds: number;
  readonly allConnections: number;
  readonly errors: number;
}

export interface UploadResult {
  readonly bytes: number;
  readonly seconds: number;
  readonly allBytes: number;
}

/** Open connections that stay so until they are released. */
export interface HeldConnections {
  release(): Promise<void>;
}

const sources = new URL("../../load/", import.meta.url).pathname;

/** Throws when there is no C compiler: without this program nothing can be measured. */
export async function buildLoadGenerator(directory: string): Promise<LoadGenerator> {
  const path = join(directory, "load");
  try {
    await runCommand([
      "cc",
      "-O2",
      "-Wall",
      "-o",
      path,
      ...globSync("*.c", { cwd: sources }).map((name) => sources + name),
    ]);
  } catch (cause) {
    throw new Error("The load generator is written in C: install a compiler (cc), Debian's package gcc", { cause });
  }
  return new LoadGenerator(path);
}

export class LoadGenerator {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  serve(host: Host, ports: string, logPath: string): Program {
    return startProgram({ name: `application ${host.name}`, host, command: [this.#path, "serve", ports], logPath });
  }

  async requests(client: Host, target: Target, connections: number, seconds: number): Promise<RequestsResult> {
    return (await this.#run(client, "requests", target, [connections, seconds])) as RequestsResult;
  }

  async churn(client: Host, target: Target, closer: "client" | "server", seconds: number): Promise<ChurnResult> {
    return (await this.#run(client, "churn", target, [churnConcurrency, seconds, closer])) as ChurnResult;
  }

  async upload(client: Host, target: Target, streams: number, seconds: number): Promise<UploadResult> {
    return (await this.#run(client, "upload", target, [streams, seconds])) as UploadResult;
  }

  /** Resolves when all are open and each has had an answer. */
  async hold(client: Host, target: Target, connections: number): Promise<HeldConnections> {
    const [file, ...words] = [...inside(client), this.#path, "hold", target.ip, target.ports, String(connections)];
    const child = spawn(file, words, { stdio: ["pipe", "pipe", "pipe"] });
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const { promise: open, resolve, reject } = Promise.withResolvers<void>();
    let complaint = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
    child.stdout.once("data", () => resolve());
    child.once("close", () => {
      end();
      reject(new Error(`${connections} connections could not be held: ${complaint.trim()}`));
    });
    await open;
    return {
      async release() {
        child.stdin.end();
        await ended;
      },
    };
  }

  async #run(client: Host, task: string, target: Target, words: readonly (string | number)[]): Promise<unknown> {
    const command = [...inside(client), this.#path, task, target.ip, target.ports, ...words.map(String)];
    return JSON.parse(await runCommand(command, "", 60_000));
  }
}

/** Connections being made at a time. */
const churnConcurrency = 16;
