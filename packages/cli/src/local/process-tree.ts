import { readdirSync, readFileSync } from "node:fs";

/** The children of a process, oldest first. */
function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  } catch {
    // The kernel was built without CONFIG_PROC_CHILDREN, or the process is gone.
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((candidate) => parentOf(candidate) === pid);
  }
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return undefined;
  }
}

/** The last of a chain of only children: what a wrapper like `nsenter` finally runs. At most `depth` steps. */
export function descendant(pid: number, depth: number): number | undefined {
  let current = pid;
  for (let step = 0; step < depth; step++) {
    const child = childrenOf(current)[0];
    if (child === undefined) return undefined;
    current = child;
  }
  return current;
}
