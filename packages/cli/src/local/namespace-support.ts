// Can this machine make the namespaces of a local mesh? Found out by trying.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";

/** Programs that the local mesh runs, and where they come from. */
const programs: Readonly<Record<string, string>> = {
  unshare: "util-linux",
  nsenter: "util-linux",
  setpriv: "util-linux",
  mount: "util-linux",
  ip: "iproute2",
  nft: "nftables",
};

/** Debian does not put these folders on a user's PATH. */
export const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Options of unshare(1) for the namespaces of a mesh. */
export function namespaceOptions(rootless: boolean): readonly string[] {
  const user = rootless ? ["--user", "--map-root-user"] : [];
  return [...user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
}

/** What this machine lacks, in words that say what to do; undefined when a mesh can run. */
export function findObstacle(rootless: boolean): string | undefined {
  const folders = systemPath.split(":");
  const missing = Object.keys(programs).filter((name) => !folders.some((folder) => existsSync(`${folder}/${name}`)));
  if (missing.length > 0) {
    const packages = [...new Set(missing.map((name) => programs[name]))].join(" ");
    return `${missing.join(", ")} not found; install ${packages}`;
  }
  const script =
    "mount -t tmpfs tmpfs /mnt && ip link add probe0 type bridge && ip link add probe1 type veth peer name probe2 && nft add table inet probe";
  const attempt = spawnSync("unshare", [...namespaceOptions(rootless), "sh", "-c", script], {
    encoding: "utf8",
    env: { PATH: systemPath },
    timeout: 10_000,
  });
  if (attempt.status === 0) return undefined;
  const said =
    attempt.stderr.trim() || attempt.error?.message || `unshare ended with ${attempt.signal ?? attempt.status}`;
  return `this machine does not let us make the namespaces of a mesh (${said}). ${rootless ? explainRootless() : explainRoot()}`;
}

function explainRoot(): string {
  return "In a container this needs --privileged; otherwise check that the kernel has the modules bridge, veth and nf_tables";
}

/** The settings that are known to forbid user namespaces. */
function explainRootless(): string {
  const settings: readonly [path: string, isBlocking: (value: string) => boolean, remedy: string][] = [
    ["user/max_user_namespaces", (value) => value === "0", "set sysctl user.max_user_namespaces to 15000"],
    ["kernel/unprivileged_userns_clone", (value) => value === "0", "set sysctl kernel.unprivileged_userns_clone to 1"],
    [
      "kernel/apparmor_restrict_unprivileged_userns",
      (value) => value === "1",
      "set sysctl kernel.apparmor_restrict_unprivileged_userns to 0",
    ],
  ];
  for (const [path, isBlocking, remedy] of settings) {
    const file = `/proc/sys/${path}`;
    if (existsSync(file) && isBlocking(readFileSync(file, "utf8").trim()))
      return `${path.replaceAll("/", ".")} forbids it: ${remedy}, or run as root`;
  }
  return "Run as root, or ask whoever runs this machine to allow unprivileged user namespaces";
}
