/** For tests of this folder: the openssl program as a judge that shares no code with ours. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface OpensslResult {
  readonly ok: boolean;
  /** Standard output, then standard error. */
  readonly text: string;
  /** The text of a file that the call wrote. */
  readonly written: (name: string) => string;
}

/** Runs openssl in a directory of its own that holds these files, for one call. Throws when there is no such program. */
export function openssl(args: readonly string[], files: Readonly<Record<string, string>> = {}): OpensslResult {
  const directory = mkdtempSync(join(tmpdir(), "hairpin-openssl-"));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
    const { status, stdout, stderr, error } = spawnSync("openssl", [...args], {
      cwd: directory,
      encoding: "utf8",
      timeout: 30_000,
    });
    if (error !== undefined) throw error;
    const written = new Map<string, string>();
    const out = args[args.indexOf("-out") + 1];
    if (args.includes("-out") && out !== undefined && status === 0)
      written.set(out, readFileSync(join(directory, out), "utf8"));
    return { ok: status === 0, text: stdout + stderr, written: (name) => written.get(name) ?? "" };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
