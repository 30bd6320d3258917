import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchOptions } from "./options.ts";

/** What the bench inside is told by its starter, as JSON in its first argument. */
export interface InsideOrder {
  readonly options: BenchOptions;
  /** For logs, keys and sockets of the run; removed with it. */
  readonly directory: string;
  /** The machine's own /proc: inside, /proc shows only the bench's processes. */
  readonly hostProc: string;
}

const inside = new URL("inside.ts", import.meta.url).pathname;

/**
 * Networks, mounts and processes of the bench live in one private set of namespaces: when its first process ends, the kernel
 * ends and removes the rest. The mounts hide the host's /run/netns and /mnt, so that names cannot meet. 5,000 connections need
 * many descriptors. The shell outlives the bench to remove its directory, also when its starter was killed.
 */
const script = `
ulimit -n "$(ulimit -Hn)"
mount -t tmpfs tmpfs /mnt
mkdir /mnt/host-proc
mount --bind /proc /mnt/host-proc
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
trap : INT TERM HUP
code=0
unshare --net --pid --fork --kill-child --mount-proc "$@" || code=$?
rm -rf "$DIRECTORY"
exit "$code"
`;

/** Runs the bench; resolves with its exit code when nothing of it is left. Throws when the machine does not let us. */
export async function launchInside(options: BenchOptions): Promise<number> {
  if (process.getuid?.() !== 0) throw new Error("The bench makes network namespaces: run it as root");
  const directory = await mkdtemp(join(tmpdir(), "hairpin-bench-"));
  const order: InsideOrder = { options, directory, hostProc: "/mnt/host-proc" };
  try {
    return await run([process.execPath, inside, JSON.stringify(order)], directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function run(command: readonly string[], directory: string): Promise<number> {
  // The end of stdin tells the bench inside that we are gone, also when we were killed.
  const child = spawn("unshare", ["--mount", "sh", "-ec", script, "bench", ...command], {
    stdio: ["pipe", "inherit", "inherit"],
    env: { ...process.env, DIRECTORY: directory, PATH: `/usr/local/sbin:/usr/sbin:/sbin:${process.env["PATH"] ?? ""}` },
  });
  // Ctrl-C reaches the whole process group; we wait until the rest has ended.
  const leave = (): void => void child.stdin.end();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, leave);
  child.stdin.on("error", () => {});
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once("error", reject);
  child.once("close", (code) => resolve(code ?? 1));
  return await promise;
}
