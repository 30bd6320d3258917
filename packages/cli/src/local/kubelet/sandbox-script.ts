// The mount namespace that every container starts from: the host's file system, read-only, with a /dev of our own. Pure text
// for sh; a container gets a copy of it (container-script.ts).

import { shellQuote } from "./shell-quote.ts";

export interface SandboxOptions {
  /** Text of /proc/self/mountinfo. */
  readonly mountInfo: string;
  /** The mesh's own tmpfs, which stays writable and is hidden from pods later. */
  readonly runDirectory: string;
  /** An empty folder below runDirectory for /dev. */
  readonly deviceDirectory: string;
  /** Leave the host's file system writable. */
  readonly writableHost: boolean;
}

/** Devices that a pod sees; disks, memory and the like are not among them. */
const devices = ["null", "zero", "full", "random", "urandom", "tty"];
const devicesInMemory = "mode=1777,nosuid,nodev,size=64m";

/** Prints `ready` when the namespace is as it should be, `writable PATH` for a mount that could not be made read-only. */
export function sandboxScript(options: SandboxOptions): string {
  const dev = shellQuote(options.deviceDirectory);
  const lines = [
    "set -e",
    ...(options.writableHost ? [] : readOnlyCommands(options.mountInfo, options.runDirectory)),
    `mount -t tmpfs -o mode=755,nosuid,size=1m tmpfs ${dev}`,
    ...devices.map((name) => `: > ${dev}/${name}; mount --bind /dev/${name} ${dev}/${name}`),
    `ln -s /proc/self/fd ${dev}/fd; ln -s fd/0 ${dev}/stdin; ln -s fd/1 ${dev}/stdout; ln -s fd/2 ${dev}/stderr`,
    `mkdir ${dev}/pts ${dev}/shm; ln -s pts/ptmx ${dev}/ptmx`,
    `mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts ${dev}/pts`,
    `mount -t tmpfs -o ${devicesInMemory} tmpfs ${dev}/shm`,
    `mount --rbind ${dev} /dev`,
    "echo ready",
    // Holds the namespace open until the mesh ends.
    "exec sleep infinity",
  ];
  return `${lines.join("\n")}\n`;
}

/** One remount per mount: a bind mount's read-only flag does not reach the mounts below it. */
function readOnlyCommands(mountInfo: string, runDirectory: string): readonly string[] {
  const mounts = mountInfo.split("\n").flatMap((line) => {
    const [, , , , point, flags] = line.split(" ");
    return point === undefined || flags === undefined ? [] : [{ point: decodeMountPoint(point), flags }];
  });
  const kept = mounts.filter(({ point }) => !isInside(point, "/proc") && !isInside(point, runDirectory));
  return kept.map(({ point, flags }) => {
    const others = flags.split(",").filter((flag) => flag !== "rw" && flag !== "ro");
    const options = ["remount", "bind", "ro", ...others].join(",");
    const path = shellQuote(point);
    return `mount -o ${options} ${path} || echo writable ${path}`;
  });
}

function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** The kernel writes blanks and backslashes as octal escapes. */
function decodeMountPoint(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_match, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
