// Gets a machine that has only Node 20+ and npm ready, then runs what was asked: `node scripts/bootstrap.mjs demo|test|bench|e2e|image|install [args]`.
// Plain JavaScript on purpose: it runs on the system's Node before the project's own (26, from node_modules) exists.
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const pnpmVersion = "12.21.0";
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const toolchain = join(root, ".toolchain");
const systemPath = [process.env.PATH ?? "", "/usr/local/sbin", "/usr/sbin", "/sbin"].join(delimiter);
const projectPath = [join(root, "node_modules/.bin"), join(toolchain, "node_modules/.bin"), systemPath].join(delimiter);

/** Programs that the mesh needs on the machine, and the Debian package of each. */
const programs = [
  { program: "nft", debianPackage: "nftables", why: "capture and Services are nftables rules" },
  { program: "ip", debianPackage: "iproute2", why: "pods are network namespaces" },
  { program: "unshare", debianPackage: "util-linux", why: "the mesh lives in namespaces of its own" },
  { program: "nsenter", debianPackage: "util-linux", why: "commands enter the mesh's namespaces" },
  { program: "setpriv", debianPackage: "util-linux", why: "pods run without capabilities" },
  { program: "curl", debianPackage: "curl", why: "the demo and the tests call services with it" },
  { program: "openssl", debianPackage: "openssl", why: "the tests let it judge our certificates" },
];

const tasks = {
  install: () => 0,
  demo: (args) => run("node", ["packages/cli/src/main.ts", "demo", ...args]),
  test: (args) => run("node", ["scripts/test.ts", ...args]),
  bench: (args) => run("node", ["bench/src/main.ts", ...args]),
  e2e: (args) => run("node", ["scripts/cluster/e2e.ts", ...args]),
  image: (args) => run("node", ["scripts/cluster/image.ts", ...args]),
};

const [task = "", ...args] = process.argv.slice(2);
if (!(task in tasks))
  fail(`Unknown task ${JSON.stringify(task)}. Use: npm run demo, npm test, npm run bench, npm run e2e, npm run image`);
checkPlatform();
installPrograms();
installPackages();
process.exit(tasks[task](args));

function checkPlatform() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < 20) fail(`Node ${process.versions.node} is too old to set the project up. Install Node 20 or newer.`);
  if (process.platform !== "linux")
    fail("Hairpin's local mesh is made of Linux network namespaces. Run it on Linux or in a Linux VM.");
}

function installPrograms() {
  const missing = programs.filter(({ program }) => !findProgram(program));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(({ debianPackage }) => debianPackage))];
  const reasons = missing.map(({ program, why }) => `  ${program}: ${why}`).join("\n");
  const command = `apt-get install -y --no-install-recommends ${packages.join(" ")}`;
  if (process.getuid?.() !== 0 || !findProgram("apt-get")) {
    fail(
      `These programs are missing:\n${reasons}\nInstall them, on Debian or Ubuntu as root with:\n  apt-get update && ${command}`,
    );
  }
  say(`installing ${packages.join(", ")} with apt-get, since these programs are missing:\n${reasons}`);
  const quiet = { DEBIAN_FRONTEND: "noninteractive" };
  if (run("apt-get", ["-qq", "update"], quiet) !== 0)
    say("apt-get update failed; trying with the package lists at hand");
  if (run("apt-get", ["-qq", ...command.split(" ").slice(1)], quiet) !== 0)
    fail(`${command} failed. Install the packages by hand and start again.`);
}

function installPackages() {
  const pnpm = join(toolchain, "node_modules/.bin/pnpm");
  const pnpmPackage = join(toolchain, "node_modules/pnpm/package.json");
  const installed = existsSync(pnpmPackage) ? JSON.parse(readFileSync(pnpmPackage, "utf8")).version : undefined;
  if (installed !== pnpmVersion) {
    say(`installing pnpm ${pnpmVersion} into .toolchain/`);
    if (
      run("npm", ["install", "--prefix", toolchain, "--no-audit", "--no-fund", "--silent", `pnpm@${pnpmVersion}`]) !== 0
    ) {
      fail("npm could not install pnpm. Is the registry reachable?");
    }
  }
  const stamp = join(toolchain, "installed-lock.yaml");
  const lock = readFileSync(join(root, "pnpm-lock.yaml"), "utf8");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lock && existsSync(join(root, "node_modules/.bin/node")))
    return;
  say("installing packages (Node 26 among them)");
  if (run(pnpm, ["install", "--frozen-lockfile", "--reporter=append-only", "--loglevel=warn"]) !== 0)
    fail("pnpm install failed; its output is above.");
  const node = spawnSync("node", ["--version"], {
    cwd: root,
    env: { ...process.env, PATH: projectPath },
    encoding: "utf8",
  });
  const major = Number(node.stdout?.trim().slice(1).split(".")[0]);
  if (!(major >= 24)) {
    fail(
      `The project's Node did not start (${node.error?.message ?? node.stdout?.trim()}). Packages exist for linux x64 and arm64 with glibc only.`,
    );
  }
  writeFileSync(stamp, lock);
}

function findProgram(name) {
  return systemPath
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Runs a program with our terminal and gives its exit code; Ctrl-C reaches it, and we wait for it to clean up. */
function run(program, programArgs, environment = {}) {
  const ignore = () => {};
  process.on("SIGINT", ignore);
  process.on("SIGTERM", ignore);
  const result = spawnSync(program, programArgs, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...environment, PATH: projectPath },
  });
  process.off("SIGINT", ignore);
  process.off("SIGTERM", ignore);
  if (result.error) say(`${program}: ${result.error.message}`);
  return result.status ?? 1;
}

function say(text) {
  process.stderr.write(`hairpin setup: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}
