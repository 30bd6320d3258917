// Keeps our plugin in a node's network configuration, whoever else writes there.
import { type FSWatcher, watch } from "node:fs";
import { chmod, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, errorMessage, type Timer } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { chainPlugin, type ConfChange, type ConfFile, unchainPlugin } from "./conf-file.ts";

/** For changes that no notice came of (network file systems, a folder that was replaced). */
const pollMs = 10_000;
const maxFileBytes = 1024 * 1024;
const temporaryPrefix = ".hairpin-cni-";

export interface ConfFolderComponents {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told after every look: the file that names our plugin, or undefined while there is none to chain into. */
  readonly onLooked: (chainedIn: string | undefined) => void;
}

/** Chains the plugin into the folder's configuration from `start` on, and again whenever it is gone from there. */
export class ConfFolder {
  readonly #components: ConfFolderComponents;
  readonly #folder: string;
  readonly #entry: Readonly<Record<string, unknown>>;
  #queue: Promise<void> = Promise.resolve();
  #watcher: FSWatcher | undefined;
  #timer: Timer | undefined;
  #isStopped = false;
  #lastIgnored = "";

  constructor(components: ConfFolderComponents, folder: string, entry: Readonly<Record<string, unknown>>) {
    this.#components = components;
    this.#folder = folder;
    this.#entry = entry;
  }

  /** Resolves after the first look; what is wrong with the folder is logged, and looked at again. */
  async start(): Promise<void> {
    await this.#look();
    this.#expectLook();
  }

  /** The plugin stays. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#watcher?.close();
    this.#timer?.cancel();
    await this.#queue;
  }

  /** Takes the plugin out; call `stop` before. Rejects with Node's error. */
  async unchain(): Promise<void> {
    await this.#write(unchainPlugin(await this.#read()));
  }

  #expectLook(): void {
    this.#timer?.cancel();
    this.#timer = this.#components.clock.setTimer(pollMs, () => void this.#look().then(() => this.#expectLook()));
  }

  async #look(): Promise<void> {
    this.#queue = this.#queue.then(async () => {
      if (this.#isStopped) return;
      try {
        this.#watchFolder();
        const change = chainPlugin(await this.#read(), this.#entry);
        await this.#write(change);
        this.#tell(change);
      } catch (error) {
        this.#components.logger.warn("the network configuration cannot be changed", { error: errorMessage(error) });
        this.#components.onLooked(undefined);
      }
    });
    await this.#queue;
  }

  /** Each look; a folder that came later or was replaced is watched then. */
  #watchFolder(): void {
    this.#watcher?.close();
    this.#watcher = watch(this.#folder, (_event, name) => {
      if (name?.startsWith(temporaryPrefix) !== true) void this.#look();
    });
    this.#watcher.on("error", () => {});
  }

  #tell({ write, chainedIn, ignored }: ConfChange): void {
    const { logger, onLooked } = this.#components;
    if (write.length > 0) logger.info("the plugin was chained", { file: chainedIn });
    if (ignored.join() !== this.#lastIgnored && ignored.length > 0)
      logger.warn("network configurations were passed over", { files: ignored.join("; ") });
    this.#lastIgnored = ignored.join();
    onLooked(chainedIn);
  }

  async #read(): Promise<ConfFile[]> {
    const files: ConfFile[] = [];
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      const { size } = await stat(path).catch(() => ({ size: Infinity }));
      if (name.startsWith(temporaryPrefix) || size > maxFileBytes) continue;
      const text = await readFile(path, "utf8").catch(() => undefined);
      if (text !== undefined) files.push({ name, text });
    }
    return files;
  }

  async #write({ write, remove }: ConfChange): Promise<void> {
    for (const { name, text } of write) await replaceFile(join(this.#folder, name), text);
    for (const name of remove) await rm(join(this.#folder, name), { force: true });
  }
}

/** A runtime that reads meanwhile sees the old text or the new one. Keeps the mode of a file that is there. */
export async function replaceFile(path: string, text: string, mode?: number): Promise<void> {
  const temporary = join(path, "..", `${temporaryPrefix}${process.pid}.tmp`);
  const kept = mode ?? (await stat(path).catch(() => ({ mode: 0o644 }))).mode & 0o777;
  const file = await open(temporary, "w", kept);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await chmod(temporary, kept);
  await rename(temporary, path);
}
