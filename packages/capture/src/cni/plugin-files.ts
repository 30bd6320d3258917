// Puts the plugin on the node: the launcher under the plugin's name, and beside it a folder with this image's Node, the
// libraries it needs, and the bundle. Nothing of the host is used, so it does not matter what the host has.
import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { MeshError } from "@hairpin/shared/process";
import { runInNetns } from "../run-in-netns.ts";
import { errorAnswer, versionAnswer } from "./cni-call.ts";
import { pluginType } from "./conf-file.ts";
import { launcherElf } from "./launcher.ts";

export interface PluginFilesOptions {
  /** The host's folder of CNI plugins: as this process sees it, and as the host names it. */
  readonly binFolder: string;
  readonly hostBinFolder: string;
  /** The bundle. */
  readonly pluginPath: string;
  /** The host's root, as this process sees it. */
  readonly hostRoot: string;
}

const runtimeFolder = `.${pluginType}`;

/**
 * Installs, or leaves what is there already; the plugin of an earlier agent works until the new one is in its place. Then it
 * is tried in the host's root. Rejects with `CNI_PLUGIN_UNUSABLE` and what was said when the host cannot run it; what was
 * there before stays then.
 */
export async function installPlugin(options: PluginFilesOptions): Promise<void> {
  const files = await runtimeFiles(options.pluginPath);
  const generation = await fingerprint(files);
  const folder = join(options.binFolder, runtimeFolder, generation);
  await copyRuntime(files, folder);
  const hostFolder = join(options.hostBinFolder, runtimeFolder, generation);
  const launcher = launcherElf({
    architecture: process.arch === "arm64" ? "arm64" : "x64",
    command: launchCommand(hostFolder, files),
    failure: errorAnswer(new Error(`${hostFolder} is incomplete; the node agent puts it back when it starts`)),
  });
  const tried = join(options.binFolder, `.${pluginType}-new`);
  await writeFile(tried, launcher, { mode: 0o755 });
  await chmod(tried, 0o755);
  try {
    await tryOut(options, basename(tried));
    await rename(tried, join(options.binFolder, pluginType));
  } catch (error) {
    await rm(tried, { force: true });
    throw error;
  }
  await removeOthers(join(options.binFolder, runtimeFolder), generation);
}

/** Takes everything away that {@link installPlugin} may have made. */
export async function removePlugin(binFolder: string): Promise<void> {
  await rm(join(binFolder, pluginType), { force: true });
  await rm(join(binFolder, `.${pluginType}-new`), { force: true });
  await rm(join(binFolder, runtimeFolder), { recursive: true, force: true });
}

interface RuntimeFiles {
  readonly node: string;
  readonly loader: string;
  readonly libraries: readonly string[];
  readonly plugin: string;
}

/** What this very process runs on: its executable, and the libraries of the system that it has loaded. */
async function runtimeFiles(pluginPath: string): Promise<RuntimeFiles> {
  const maps = await readFile("/proc/self/maps", "latin1");
  const mapped = [...new Set(maps.match(/\/\S+\/(?:ld-linux|lib)[^/\s]*\.so[^/\s]*/g))];
  const loader = mapped.find((path) => basename(path).startsWith("ld-linux"));
  if (loader === undefined) throw unusable("This Node was not started by the loader of the GNU C library");
  return { node: process.execPath, loader, libraries: mapped.filter((path) => path !== loader), plugin: pluginPath };
}

/** The name by which a program asks for a library: libstdc++.so.6.0.30 is known as libstdc++.so.6. */
function sonameOf(path: string): string {
  return basename(path).replace(/(\.so\.\d+)\..*$/, "$1");
}

function launchCommand(folder: string, { loader }: RuntimeFiles): string[] {
  // The loader's own options: only our libraries, nothing of the host's cache.
  const load = [join(folder, basename(loader)), "--inhibit-cache", "--library-path", folder];
  return [...load, join(folder, "node"), join(folder, "plugin.cjs")];
}

async function fingerprint({ node, loader, libraries, plugin }: RuntimeFiles): Promise<string> {
  const hash = createHash("sha256").update(await readFile(plugin));
  for (const path of [node, loader, ...libraries]) {
    const { size, mtimeMs } = await stat(path);
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  }
  return hash.digest("hex").slice(0, 16);
}

/** A folder under its final name is complete. */
async function copyRuntime({ node, loader, libraries, plugin }: RuntimeFiles, folder: string): Promise<void> {
  if (await stat(folder).catch(() => undefined)) return;
  const temporary = `${folder}.tmp`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true, mode: 0o755 });
  await copyFile(node, join(temporary, "node"));
  await copyFile(loader, join(temporary, basename(loader)));
  for (const library of libraries) await copyFile(library, join(temporary, sonameOf(library)));
  await copyFile(plugin, join(temporary, "plugin.cjs"));
  for (const name of await readdir(temporary)) await chmod(join(temporary, name), 0o755);
  await rename(temporary, folder);
}

/** By the host's root, its kernel and its mounts, without its help: the only answer is the plugin's own. */
async function tryOut({ hostRoot, hostBinFolder }: PluginFilesOptions, name: string): Promise<void> {
  const command = ["chroot", hostRoot, join(hostBinFolder, name)];
  const { exitCode, stdout, stderr } = await runInNetns(undefined, command, "{}", { CNI_COMMAND: "VERSION" });
  if (exitCode === 0 && stdout === versionAnswer()) return;
  throw unusable(`The host cannot run ${join(hostBinFolder, name)}: ${stderr || stdout || `exit code ${exitCode}`}`);
}

async function removeOthers(folder: string, generation: string): Promise<void> {
  for (const name of await readdir(folder))
    if (name !== generation) await rm(join(folder, name), { recursive: true, force: true });
}

function unusable(message: string): MeshError {
  return new MeshError(message, { code: "CNI_PLUGIN_UNUSABLE", origin: "internal" });
}
