// Where a local mesh keeps what the outside needs to find it: its socket, its log and the number of its init process.

import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";

/** A running mesh, as written to its state directory. */
export interface MeshRecord {
  readonly name: string;
  /** Init of the mesh, as the outside counts processes. */
  readonly initPid: number;
  /** When that process began, in clock ticks since boot: tells it from another one with the same number. */
  readonly initStartTicks: string;
  /** Has the mesh a user namespace of its own (started without root)? */
  readonly rootless: boolean;
}

/** Names become file names. */
const namePattern = /^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/;

export class StateError extends Error {
  readonly code = "LOCAL_STATE";
}

export class StateDirectory {
  readonly name: string;
  readonly path: string;

  /** Throws {@link StateError} when the name is no good or the place cannot be trusted. */
  constructor(name: string, base: string = stateBase()) {
    if (!namePattern.test(name))
      throw new StateError(`--name ${JSON.stringify(name)}: use lower case letters, digits and '-', at most 32`);
    this.name = name;
    this.path = join(base, name);
  }

  get socketPath(): string {
    return join(this.path, "store.sock");
  }

  get logPath(): string {
    return join(this.path, "daemon.log");
  }

  get configPath(): string {
    return join(this.path, "config.json");
  }

  /** Makes the directory; false when it exists. Only one of several callers gets true. */
  create(): boolean {
    try {
      mkdirSync(this.path, { mode: 0o700 });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    }
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  write(record: MeshRecord): void {
    const draft = join(this.path, "mesh.json.new");
    writeFileSync(draft, JSON.stringify(record), { mode: 0o600 });
    renameSync(draft, join(this.path, "mesh.json"));
  }

  /** The mesh that runs under this name; undefined when none does. */
  findRunning(): MeshRecord | undefined {
    let record: MeshRecord;
    try {
      record = JSON.parse(readFileSync(join(this.path, "mesh.json"), "utf8")) as MeshRecord;
    } catch {
      return undefined;
    }
    return processStartTicks(record.initPid) === record.initStartTicks ? record : undefined;
  }

  /** Is somebody starting a mesh here at this moment, or did so a moment ago and failed to say where it is? */
  isBeingStarted(): boolean {
    const path = join(this.path, "starter");
    if (!existsSync(path)) return false;
    const [pid = "", ticks = ""] = readFileSync(path, "utf8").split(" ");
    return processStartTicks(Number(pid)) === ticks;
  }

  /** Marks the directory as being set up by this process. */
  markStarter(): void {
    writeFileSync(join(this.path, "starter"), `${process.pid} ${processStartTicks(process.pid) ?? ""}`, {
      mode: 0o600,
    });
  }
}

/** When a process began; undefined when there is none. proc(5): field 22, counted after the name in brackets. */
export function processStartTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** $XDG_RUNTIME_DIR/hairpin, or /tmp/hairpin-UID. Made if need be; refused when somebody else could have made it. */
function stateBase(): string {
  const { uid } = userInfo();
  const runtime = process.env["XDG_RUNTIME_DIR"];
  const base =
    runtime !== undefined && runtime.startsWith("/") && isOwnFolder(runtime, uid)
      ? join(runtime, "hairpin")
      : `/tmp/hairpin-${uid}`;
  try {
    mkdirSync(base, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  if (!isOwnFolder(base, uid))
    throw new StateError(`${base} belongs to somebody else; remove it or set XDG_RUNTIME_DIR`);
  chmodSync(base, 0o700);
  return base;
}

function isOwnFolder(path: string, uid: number): boolean {
  try {
    const stat = lstatSync(path);
    return stat.isDirectory() && stat.uid === uid;
  } catch {
    return false;
  }
}
