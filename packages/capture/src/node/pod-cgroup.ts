// Reads which pod a process belongs to from its cgroup paths. Pure.
//
// The kubelet puts every pod's containers below a cgroup that carries the pod's uid, whatever the version of cgroups, the
// driver and the runtime:
//   cgroupfs  /kubepods/burstable/pod<uid>/<container>
//   systemd   /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid, _ for ->.slice/cri-containerd-<id>.scope
//   kind      /kubelet.slice/kubelet-kubepods.slice/…-pod<uid>.slice/…, CRI-O: crio-<id>.scope, containerd: …slice:cri-containerd:<id>
// Version 1 has a line for each controller, version 2 one; seen from another cgroup namespace they begin with /../

const podUid = /pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})(?![0-9a-f])/g;

/**
 * Uids of pods in `/proc/<pid>/cgroup`, outermost first, each once. A cluster that runs in a pod of another shows both; the
 * process belongs to the first that is known on this node, since whoever is inside can only add names at the end.
 */
export function podUidsOfCgroup(text: string): string[] {
  const uids = text.split("\n").flatMap((line) => {
    // hierarchy:controllers:path; the path may contain colons.
    const path = line.split(":").slice(2).join(":");
    return [...path.matchAll(podUid)].map((match) => (match[1] ?? "").replaceAll("_", "-"));
  });
  return [...new Set(uids)];
}

/** When the process started, in clock ticks since boot, from `/proc/<pid>/stat`; NaN when the text is none. */
export function startTimeOfStat(text: string): number {
  // The command name may contain anything, also parentheses: what follows the last one is fixed. Field 22 of proc(5).
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return Number(fields[19] ?? Number.NaN);
}
