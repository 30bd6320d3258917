import { join } from "node:path";
import { bridgeName } from "../local/fabric/fabric-commands.ts";
import type { LocalMesh } from "../local/local-mesh.ts";

/** What crossed the bridge between the nodes while something was done. */
export interface BridgeCapture {
  /** In how many packets each word was seen in the clear. */
  readonly counts: Readonly<Record<string, number>>;
  /** Packets to or from the HBONE port. */
  readonly hbonePackets: number;
  readonly packets: number;
}

const captureMs = 3000;
const repeatMs = 250;
const program = join(import.meta.dirname, "count-packets.ts");

/**
 * Looks at the bridge for a few seconds while `action` is done again and again, so that nothing hangs on when it began.
 * Throws with the program's own words when it cannot.
 */
export async function captureBridge(
  mesh: LocalMesh,
  words: readonly string[],
  action: () => Promise<void>,
): Promise<BridgeCapture> {
  const ended = new AbortController();
  const argv = [
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    program,
    bridgeName,
    String(captureMs),
    ...words,
  ];
  const capture = mesh.execInMesh(argv, { timeoutMs: captureMs + 10_000 }).finally(() => ended.abort());
  while (!ended.signal.aborted) {
    await Promise.all([action(), new Promise((resolve) => setTimeout(resolve, repeatMs))]);
  }
  const { stdout, stderr, exitCode } = await capture;
  const result = stdout.split("\n").find((line) => line.startsWith("{"));
  if (exitCode !== 0 || result === undefined) throw new Error(`the bridge cannot be looked at: ${stderr.trim()}`);
  return JSON.parse(result);
}
