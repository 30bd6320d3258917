import { readdirSync, readFileSync } from "node:fs";

/** CPU seconds that processes and their children have used so far, all threads, to the nanosecond. */
export function cpuSeconds(pids: readonly number[]): number {
  let nanoseconds = 0;
  for (const pid of pids.flatMap(withChildren)) {
    for (const thread of list(`/proc/${pid}/task`)) {
      // The file of the process itself counts its first thread only.
      const [onCpu = "0"] = read(`/proc/${pid}/task/${thread}/schedstat`).split(" ");
      nanoseconds += Number(onCpu);
    }
  }
  return nanoseconds / 1e9;
}

/** Resident memory of a process and its children, in MiB. */
export function residentMebibytes(pid: number): number {
  const kibibytes = withChildren(pid).map((one) =>
    Number(/VmRSS:\s+(\d+)/.exec(read(`/proc/${one}/status`))?.[1] ?? 0),
  );
  return kibibytes.reduce((sum, value) => sum + value, 0) / 1024;
}

/** nginx works in children of the process that was started. */
function withChildren(pid: number): readonly number[] {
  const threads = list(`/proc/${pid}/task`);
  const children = threads.flatMap((thread) => read(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean));
  return [pid, ...children.map(Number).flatMap(withChildren)];
}

/** A process or thread may end at any moment. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
