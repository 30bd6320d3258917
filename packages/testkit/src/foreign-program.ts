import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { TlsMaterial } from "@hairpin/wire";

/** The path of an installed program. System programs count although an ordinary user's PATH leaves their folder out. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** A folder of its own with these files; removed by its disposal. */
export async function createTestFolder(
  files: Readonly<Record<string, string>> = {},
): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "hairpin-peer-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text, { mode: 0o600 });
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A program that runs until it is disposed of, in a folder of its own for its files. */
export interface ForeignProgram extends AsyncDisposable {
  /** What it wrote to both outputs so far. */
  readonly output: () => string;
}

/** Writes the files and starts the program, whose arguments may name them. */
export async function startForeignProgram(
  path: string,
  files: Readonly<Record<string, string>>,
  options: (folder: string) => { readonly args: readonly string[]; readonly env?: Readonly<Record<string, string>> },
): Promise<ForeignProgram> {
  const folder = await createTestFolder(files);
  const { args, env } = options(folder.path);
  const child = spawn(path, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const keep = (text: Buffer): void => void (output = (output + text.toString()).slice(-20_000));
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  const exited = whenExited(child);
  return {
    output: () => output,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
      await folder[Symbol.asyncDispose]();
    },
  };
}

function whenExited(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
}

/** `certificate.pem`, `key.pem` and `roots.pem`, as programs want them. */
export function pemFiles(material: TlsMaterial, prefix = ""): Record<string, string> {
  return {
    [`${prefix}certificate.pem`]: material.certificateChain,
    [`${prefix}key.pem`]: material.privateKey,
    [`${prefix}roots.pem`]: material.roots.join("\n"),
  };
}

/** A port that was free a moment ago, for programs that cannot say which one they took. */
export async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
