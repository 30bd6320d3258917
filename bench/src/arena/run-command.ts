import { execFile } from "node:child_process";

/** Runs a program to its end and gives what it printed. Throws `Error` with what it said when it fails. */
export async function runCommand(command: readonly string[], input = "", timeoutMs = 20_000): Promise<string> {
  const [file = "", ...words] = command;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = execFile(file, words, { timeout: timeoutMs, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
    if (error) reject(new Error(`${command.join(" ").slice(0, 200)} failed: ${stderr.trim() || error.message}`));
    else resolve(stdout);
  });
  child.stdin?.on("error", () => {});
  child.stdin?.end(input);
  return await promise;
}
