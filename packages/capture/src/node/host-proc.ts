// The host as an agent in a container sees it: through the host's /proc, mounted somewhere.
import { join } from "node:path";

/** Paths of the host, given where its /proc is mounted (`/host/proc`; `/proc` when the agent runs on the host itself). */
export interface HostProc {
  readonly path: string;
  /** The node's own network namespace: that of its first process. */
  readonly netnsPath: string;
  /** Where a file of the host is found from here. Reading through another's root needs CAP_SYS_PTRACE. */
  pathOf(hostPath: string): string;
}

export function hostProc(procPath: string): HostProc {
  return {
    path: procPath,
    netnsPath: join(procPath, "1/ns/net"),
    pathOf(hostPath) {
      // /proc of the host's root is the host's, but a mount of its own: links in it that mean "self" would mean us.
      const inProc = /^\/proc\/(\d+\/.*)$/.exec(hostPath)?.[1];
      return inProc === undefined ? join(procPath, "1/root", hostPath) : join(procPath, inProc);
    },
  };
}
