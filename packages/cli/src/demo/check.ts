import type { LocalMesh } from "../local/local-mesh.ts";

/** What one check of the demo saw. */
export interface Outcome {
  readonly ok: boolean;
  /** One line. */
  readonly happened: string;
  /** What proves it: log lines, counts. */
  readonly evidence?: readonly string[];
}

/** One thing that the demo shows. */
export interface Check {
  readonly title: string;
  /** What is done, as one would type it. */
  readonly command: string;
  readonly expected: string;
  run(mesh: LocalMesh): Promise<Outcome>;
}

/** The answer to one call with curl. `status` 0: there was none. */
export interface CallResult {
  readonly status: number;
  readonly body: string;
  readonly curlExitCode: number;
}

export interface Call {
  readonly namespace: string;
  readonly pod: string;
  readonly url: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const callTimeoutSeconds = 10;

/** Calls a URL from a pod. */
export async function call(
  mesh: LocalMesh,
  { namespace, pod, url, method = "GET", headers = {} }: Call,
): Promise<CallResult> {
  const fields = Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
  const argv = ["curl", "-sS", "-m", String(callTimeoutSeconds), "-X", method, ...fields, "-w", "\n%{http_code}", url];
  const { stdout, exitCode } = await mesh.exec(pod, argv, { namespace });
  const at = stdout.lastIndexOf("\n");
  return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, Math.max(0, at)), curlExitCode: exitCode };
}

/** `200`, or how curl failed. */
export function describeCall(result: CallResult): string {
  return result.status === 0 ? `no answer (curl exit ${result.curlExitCode})` : String(result.status);
}

/** Lines of all ztunnels' logs, the newest last. */
export async function ztunnelLines(mesh: LocalMesh): Promise<string[]> {
  const nodes = await mesh.get("Node");
  const logs = await Promise.all(nodes.map((node) => mesh.logs(`ztunnel/${node.metadata.name}`)));
  return logs.flatMap((log) => log.split("\n"));
}

/** Looks for a log line until it is there; a line is written when its connection has ended, which may be a moment later. */
export async function findLine(
  lines: () => Promise<readonly string[]>,
  matches: (line: string) => boolean,
): Promise<string | undefined> {
  const deadline = performance.now() + 5000;
  for (;;) {
    const line = (await lines()).findLast(matches);
    if (line !== undefined || performance.now() > deadline) return line;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The value of a field of a log line. */
export function fieldOf(line: string, name: string): string {
  return (
    new RegExp(`(?:^|\\s)${name.replaceAll(".", "\\.")}=("(?:[^"\\\\]|\\\\.)*"|\\S*)`)
      .exec(line)?.[1]
      ?.replaceAll(/^"|"$/g, "") ?? ""
  );
}
