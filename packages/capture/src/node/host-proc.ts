// The host as an agent in a container sees it: through the host's /proc, mounted somewhere.
import { readlinkSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { hasCode } from "@hairpin/native";

/** Paths of the host, given where its /proc is mounted (`/host/proc`; `/proc` when the agent runs on the host itself). */
export interface HostProc {
  readonly path: string;
  /** The node's own network namespace: that of its first process. */
  readonly netnsPath: string;
  /**
   * Where a file of the host is found from here. Reading through another's root needs CAP_SYS_PTRACE. Throws `ELOOP`, and
   * Node's error when a folder on the way may not be read.
   */
  pathOf(hostPath: string): string;
}

/** As the kernel's. */
const maxLinks = 40;

export function hostProc(procPath: string): HostProc {
  const root = join(procPath, "1/root");
  return {
    path: procPath,
    netnsPath: join(procPath, "1/ns/net"),
    pathOf(hostPath) {
      const resolved = resolveLinks(root, hostPath);
      // /proc of the host's root is the host's, but a mount of its own: links in it that mean "self" would mean us.
      const inProc = /^\/proc\/(\d+\/.*)$/.exec(resolved)?.[1];
      return inProc === undefined ? join(root, resolved) : join(procPath, inProc);
    },
  };
}

/** The path with its links followed as the host would: to the kernel an absolute link starts at our root (/var/run → /run). */
function resolveLinks(root: string, path: string): string {
  let resolved = "/";
  const rest = path.split("/").filter((part) => part !== "");
  for (let links = 0; ;) {
    const part = rest.shift();
    if (part === undefined) return resolved;
    const next = posix.join(resolved, part);
    // Below it links are the kernel's own: namespaces, roots.
    const target = next.startsWith("/proc/") ? undefined : readLink(join(root, next));
    if (target === undefined) {
      resolved = next;
      continue;
    }
    if (++links > maxLinks) throw Object.assign(new Error(`Too many links in ${path}`), { code: "ELOOP" });
    resolved = target.startsWith("/") ? "/" : dirname(next);
    rest.unshift(...target.split("/").filter((one) => one !== ""));
  }
}

/** Undefined: no link, or nothing at all. */
function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (hasCode(error, "EINVAL", "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}
