// What happens between the clone of the sandbox and the container's program, as a script for sh. Pure.

import { shellCommand, shellQuote } from "./shell-quote.ts";

export interface ContainerMount {
  /** A file or folder outside the pod; created by the kubelet. */
  readonly source: string;
  /** A folder below a source that pods write to, made when it is missing; never looked for through links that they left there. */
  readonly subPath?: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly isFile?: boolean;
}

/** Whom a container's program runs as. */
export interface ContainerIdentity {
  /** Undefined: keep the user of the mesh, which without root is the only one there is. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Capabilities to keep, in setpriv's names; none for pods of users. */
  readonly capabilities: readonly string[];
}

export interface ContainerPlan {
  readonly hostname: string;
  /** Two empty folders of this container alone, which become /run and /tmp. */
  readonly stage: { readonly run: string; readonly tmp: string };
  readonly mounts: readonly ContainerMount[];
  /** Hidden under an empty file system: the mesh's state. */
  readonly hidden: readonly string[];
  /** The node executable, offered as `node` on the PATH. */
  readonly nodePath: string;
  readonly identity: ContainerIdentity;
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly argv: readonly string[];
}

/** Where a pod finds programs; the first folder holds node. */
export const containerPath = "/run/hairpin/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" as const;

/**
 * Runs as PID 1 of the container. It tells over descriptor 3 `pid N` (as the mesh's init sees it) and `ready` before it
 * becomes the program; when it ends without `ready`, its error output says why the container cannot be made.
 */
export function containerScript(plan: ContainerPlan): string {
  const { run, tmp } = { run: shellQuote(plan.stage.run), tmp: shellQuote(plan.stage.tmp) };
  const node = `${run}/hairpin/bin/node`;
  const lines = [
    "set -e",
    // Before /proc is the container's own: the number by which the outside knows this process.
    `read -r pid rest < /proc/self/stat; echo "pid $pid" >&3`,
    "mount -t proc -o nosuid,nodev,noexec proc /proc",
    "mount --bind /proc/sys /proc/sys",
    "mount -o remount,bind,ro,nosuid,nodev,noexec /proc/sys",
    // Not every kernel has it.
    "[ ! -e /proc/sysrq-trigger ] || mount --bind /dev/null /proc/sysrq-trigger",
    `hostname ${shellQuote(plan.hostname)}`,
    `mount -t tmpfs -o mode=755,nosuid,nodev tmpfs ${run}`,
    `mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs ${tmp}`,
    `mkdir -p ${run}/hairpin/bin ${run}/lock; : > ${node}; mount --bind ${shellQuote(plan.nodePath)} ${node}`,
    ...privateDevices,
    ...plan.mounts.flatMap((mount) => mountCommands(mount, plan.stage)),
    ...stageCommands(plan.stage),
    ...plan.hidden.map(
      (path) => `[ ! -e ${shellQuote(path)} ] || mount -t tmpfs -o mode=000,ro tmpfs ${shellQuote(path)}`,
    ),
    `cd ${shellQuote(plan.workingDirectory)}`,
    "echo ready >&3; exec 3>&-",
    `exec ${shellCommand(programArgv(plan))}`,
  ];
  return `${lines.join("\n")}\n`;
}

/** The one that covers the mesh's state, and with it both stages, comes last. */
function stageCommands({ run, tmp }: ContainerPlan["stage"]): readonly string[] {
  const commands = [`mount --rbind ${shellQuote(run)} /run`, `mount --rbind ${shellQuote(tmp)} /tmp`];
  return run.startsWith("/run/") ? commands.reverse() : commands;
}

/**
 * The program with its environment and without privileges. These go first: PATH and LD_PRELOAD of a pod must not choose what
 * runs with privileges.
 */
export function programArgv({
  environment,
  identity,
  argv,
}: Pick<ContainerPlan, "environment" | "identity" | "argv">): readonly string[] {
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return ["setpriv", ...privilegeOptions(identity), "--", "env", "-i", ...variables, ...argv];
}

function privilegeOptions({ user, capabilities }: ContainerIdentity): readonly string[] {
  const ids = user === undefined ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"];
  const kept = capabilities.map((name) => `,+${name}`).join("");
  return [...ids, `--bounding-set=-all${kept}`, "--inh-caps=-all", "--no-new-privs"];
}

/** What processes of the sandbox would share: memory by name and terminals. */
const privateDevices = [
  "mount -t tmpfs -o mode=1777,nosuid,nodev,size=64m tmpfs /dev/shm",
  "mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts /dev/pts",
];

/**
 * Where the programs and libraries are that set up and enter a container with privileges, as patterns of `case`: a volume
 * there would choose what runs.
 */
const systemPatterns =
  "/|/usr|/usr/*|/bin|/bin/*|/sbin|/sbin/*|/lib|/lib/*|/lib32|/lib32/*|/lib64|/lib64/*|/libx32|/libx32/*|/etc|/etc/ld.so.*|/proc|/proc/*|/sys|/sys/*|/dev|/dev/*";

function mountCommands(mount: ContainerMount, stage: ContainerPlan["stage"]): readonly string[] {
  const target = stagedPath(mount.target, stage);
  const to = shellQuote(target);
  const isStaged = target !== mount.target;
  const parent = shellQuote(target.slice(0, target.lastIndexOf("/")) || "/");
  const make = mount.isFile === true ? `mkdir -p ${parent}; : > ${to}` : `mkdir -p ${to}`;
  const missing = `the folder ${mount.target} of a volumeMount does not exist on this machine; choose one that does, or a path below /run or /tmp`;
  const forbidden = `the folder ${mount.target} of a volumeMount belongs to the system; choose another, such as one below /run or /tmp`;
  return [
    ...(isStaged
      ? [make, `to=${to}`]
      : [
          `[ -e ${to} ] || ${fail(missing)}`,
          // Links of the machine may lead elsewhere.
          `to=$(readlink -f ${to}); case "$to" in ${systemPatterns}) ${fail(forbidden)};; esac`,
        ]),
    ...sourceCommands(mount),
    ...(mount.readOnly ? [`mount -o remount,bind,ro,nosuid,nodev "$to"`] : []),
  ];
}

function sourceCommands({ source, subPath }: ContainerMount): readonly string[] {
  if (subPath === undefined) return [`mount --bind ${shellQuote(source)} "$to"`];
  const outside = `the subPath ${subPath} of a volumeMount leads out of its volume`;
  // Entered step by step and mounted from inside: a program of the pod that exchanges a folder for a link meanwhile is too late.
  const steps = subPath.split("/").flatMap((step) => {
    const folder = shellQuote(`./${step}`);
    return [
      `mkdir -m 1777 ${folder} 2>/dev/null || :; cd -P ${folder}`,
      `case "$(pwd -P)/" in "$volume"/*) ;; *) ${fail(outside)};; esac`,
    ];
  });
  return [`cd -P ${shellQuote(source)}; volume=$(pwd -P)`, ...steps, `mount --no-canonicalize --bind . "$to"; cd /`];
}

function fail(complaint: string): string {
  return `{ echo ${shellQuote(complaint)} >&2; exit 1; }`;
}

/** /run and /tmp are built aside and moved into place last, since the mesh's state may lie below one of them. */
function stagedPath(target: string, stage: ContainerPlan["stage"]): string {
  for (const prefix of ["/var/run/", "/run/"])
    if (target.startsWith(prefix)) return `${stage.run}/${target.slice(prefix.length)}`;
  return target.startsWith("/tmp/") ? `${stage.tmp}/${target.slice("/tmp/".length)}` : target;
}
