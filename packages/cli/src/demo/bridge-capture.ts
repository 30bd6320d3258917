import type { LocalMesh } from "../local/local-mesh.ts";

/** What crossed the bridge between the nodes while something was done. */
export interface BridgeCapture {
  /** How often the text was seen in the clear. */
  count(text: string): number;
  /** Packets to or from the HBONE port. */
  readonly hbonePackets: number;
  readonly packets: number;
}

const captureSeconds = 4;
const repeatMs = 250;

/**
 * Captures the bridge for a few seconds while `action` is done again and again, so that nothing hangs on when tcpdump began.
 * Throws with tcpdump's own words when it cannot capture.
 */
export async function captureBridge(mesh: LocalMesh, action: () => Promise<void>): Promise<BridgeCapture> {
  const tcpdump = ["tcpdump", "-i", "hairpin0", "-Z", "root", "-n", "-A", "-s", "0", "-l", "tcp"];
  const ended = new AbortController();
  const options = { timeoutMs: (captureSeconds + 10) * 1000 };
  const capture = mesh
    .execInMesh(["timeout", String(captureSeconds), ...tcpdump], options)
    .finally(() => ended.abort());
  while (!ended.signal.aborted) {
    await Promise.all([action(), new Promise((resolve) => setTimeout(resolve, repeatMs))]);
  }
  const { stdout, stderr } = await capture;
  if (!stderr.includes("listening on")) throw new Error(`tcpdump could not capture: ${stderr.trim()}`);
  const heads = stdout.split("\n").filter((line) => /^\d\d:\d\d:\d\d\.\d+ IP/.test(line));
  return {
    count: (text) => stdout.split(text).length - 1,
    hbonePackets: heads.filter((line) => /\.15008[: ]/.test(line)).length,
    packets: heads.length,
  };
}
