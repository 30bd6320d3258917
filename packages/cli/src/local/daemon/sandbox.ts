// Starts the process that holds the mount namespace from which containers are made.

import { spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sandboxScript } from "../kubelet/sandbox-script.ts";

export interface Sandbox {
  /** Of the holder; it lives as long as the mesh. */
  readonly pid: number;
  /** Mounts that could not be made read-only. */
  readonly writableMounts: readonly string[];
}

/** Throws with what the system said when the namespace cannot be made. */
export async function startSandbox(runDirectory: string, writableHost: boolean): Promise<Sandbox> {
  const deviceDirectory = join(runDirectory, "dev");
  mkdirSync(deviceDirectory, { recursive: true });
  const script = sandboxScript({
    mountInfo: readFileSync("/proc/self/mountinfo", "utf8"),
    runDirectory,
    deviceDirectory,
    writableHost,
  });
  const child = spawn("unshare", ["--mount", "sh", "-c", script], { stdio: ["ignore", "pipe", "pipe"] });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let output = "";
  let complaint = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (/^ready$/m.test(output)) resolve(output);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
  child.once("error", reject);
  child.once("close", () => reject(new Error(`The pods' file system cannot be set up: ${complaint.trim()}`)));
  const report = await promise;
  const writableMounts = [...report.matchAll(/^writable (.*)$/gm)].map((match) => match[1] ?? "");
  return { pid: child.pid ?? 0, writableMounts };
}
