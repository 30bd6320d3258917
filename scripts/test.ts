// `npm test`: the unit tests anywhere, and the mesh tests where network namespaces can be made. Says so when they cannot:
// a run without them is not a full run.
import { spawnSync } from "node:child_process";

const args = process.argv.slice(2);
const isRoot = process.getuid?.() === 0;

/** As root the mesh tests make namespaces directly; otherwise inside a user namespace that maps us to root. */
const wrapper = isRoot
  ? []
  : ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc"];

function run(command: readonly string[]): number {
  const [program = "", ...rest] = command;
  return spawnSync(program, rest, { stdio: "inherit" }).status ?? 1;
}

if (isRoot) process.exit(run(["vitest", "run", ...args]));

const probe = spawnSync(wrapper[0] ?? "", [...wrapper.slice(1), "true"], { encoding: "utf8" });
const unit = run(["vitest", "run", "--project", "unit", ...args]);
if (probe.status !== 0) {
  console.error(`\nThe mesh tests did NOT run: this user may not make network namespaces (${probe.stderr.trim()}).`);
  console.error(
    "Run as root, or allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000",
  );
  console.error("(Ubuntu also: sysctl kernel.apparmor_restrict_unprivileged_userns=0).");
  process.exit(1);
}
const mesh = run([...wrapper, "vitest", "run", "--project", "mesh", ...args]);
process.exit(unit === 0 && mesh === 0 ? 0 : 1);
