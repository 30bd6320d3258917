// Finds the network namespaces of running pods by their processes.
import { readdir, readFile, stat } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { hasCode, type NetnsHandle, netnsInode, openNetns, withNetns } from "@hairpin/native";
import type { HostProc } from "./host-proc.ts";
import { podUidsOfCgroup, startTimeOfStat } from "./pod-cgroup.ts";

/** A pod whose namespace is looked for. */
export interface WantedPod {
  readonly uid: string;
  readonly ips: readonly string[];
}

interface PodProcess {
  readonly netnsPath: string;
  readonly inode: number;
  readonly startTime: number;
}

/**
 * Opens the namespaces of those pods that are running, by uid; the caller owns the handles. A namespace counts when it is not
 * the host's and has one of the pod's addresses; of several that do, the one of the oldest process. Reads all of /proc once.
 */
export async function findNetns(host: HostProc, pods: readonly WantedPod[]): Promise<Map<string, NetnsHandle>> {
  const found = new Map<string, NetnsHandle>();
  if (pods.length === 0) return found;
  const processes = await findPodProcesses(host, new Set(pods.map(({ uid }) => uid)));
  for (const { uid, ips } of pods) {
    for (const { netnsPath, inode } of processes.get(uid) ?? []) {
      const handle = openIfStill(netnsPath, inode);
      if (handle === undefined) continue;
      if (hasAddressOf(handle, ips)) {
        found.set(uid, handle);
        break;
      }
      handle.close();
    }
  }
  return found;
}

/** Whether an interface of the namespace has one of the addresses. */
function hasAddressOf(handle: NetnsHandle, ips: readonly string[]): boolean {
  const interfaces = withNetns(handle, networkInterfaces);
  return Object.values(interfaces).some((addresses) => addresses?.some(({ address }) => ips.includes(address)));
}

/** By pod, oldest first, one process for each namespace. */
async function findPodProcesses(host: HostProc, uids: ReadonlySet<string>): Promise<Map<string, PodProcess[]>> {
  const hostInode = (await stat(host.netnsPath)).ino;
  const byPod = new Map<string, PodProcess[]>();
  for (const pid of await readdir(host.path)) {
    if (!/^\d+$/.test(pid)) continue;
    // One at a time: the pool of threads that reads files is small, and others need it.
    const read = await readProcess(`${host.path}/${pid}`, uids);
    if (read === undefined || read.process.inode === hostInode) continue;
    const known = byPod.get(read.uid) ?? [];
    byPod.set(read.uid, [...known, read.process]);
  }
  for (const [uid, processes] of byPod) byPod.set(uid, oldestOfEach(processes));
  return byPod;
}

function oldestOfEach(processes: readonly PodProcess[]): PodProcess[] {
  const ordered = processes.toSorted((one, other) => one.startTime - other.startTime);
  return ordered.filter(({ inode }, index) => ordered.findIndex((one) => one.inode === inode) === index);
}

/** Undefined: not of these pods, or gone while it was read. */
async function readProcess(
  folder: string,
  uids: ReadonlySet<string>,
): Promise<{ readonly uid: string; readonly process: PodProcess } | undefined> {
  try {
    const uid = podUidsOfCgroup(await readFile(`${folder}/cgroup`, "latin1")).find((one) => uids.has(one));
    if (uid === undefined) return undefined;
    const netnsPath = `${folder}/ns/net`;
    const { ino: inode } = await stat(netnsPath);
    const startTime = startTimeOfStat(await readFile(`${folder}/stat`, "latin1"));
    return { uid, process: { netnsPath, inode, startTime } };
  } catch (error) {
    if (hasCode(error, "ENOENT", "ESRCH", "EACCES")) return undefined;
    throw error;
  }
}

/** The process may have ended, and its number be another's, since it was read. */
function openIfStill(path: string, inode: number): NetnsHandle | undefined {
  let handle: NetnsHandle;
  try {
    handle = openNetns(path);
  } catch {
    return undefined;
  }
  if (netnsInode(handle) === inode) return handle;
  handle.close();
  return undefined;
}
