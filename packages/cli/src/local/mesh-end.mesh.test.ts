import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import type { ExecResult } from "./running-program.ts";
import { type MeshRecord, processStartTicks, StateDirectory } from "./state-directory.ts";
import { stopMesh } from "./start-mesh.ts";

interface HeldMesh {
  readonly record: MeshRecord;
  readonly stateDirectory: string;
  readonly call: ExecResult;
  readonly user: ExecResult;
}

const program = new URL("testing/hold-mesh.ts", import.meta.url).pathname;
const manifests = new URL("testdata/two-pods.yaml", import.meta.url).pathname;
const nobody = 65_534;

/** Starts the test program, as another user when one is given. */
async function holdMesh(
  name: string,
  options: { mode?: string; prefix?: readonly string[] } = {},
): Promise<{ child: ChildProcess; mesh: HeldMesh }> {
  const argv = [...(options.prefix ?? []), process.execPath, program, name, manifests, options.mode ?? ""];
  const child = spawn(argv[0] ?? "", argv.slice(1), { stdio: ["ignore", "pipe", "inherit"], cwd: "/" });
  const { promise, resolve, reject } = Promise.withResolvers<HeldMesh>();
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
    if (text.endsWith("\n")) resolve(JSON.parse(text) as HeldMesh);
  });
  child.once("error", reject);
  child.once("close", (code) => reject(new Error(`hold-mesh ended with ${code}`)));
  return { child, mesh: await promise };
}

/** Nothing of the mesh may be left: neither its init nor a process that names its folder, nor files. */
async function expectGone({ record, stateDirectory }: HeldMesh): Promise<void> {
  await vi.waitFor(
    () => {
      expect(processStartTicks(record.initPid)).not.toBe(record.initStartTicks);
      expect(processesNaming(stateDirectory)).toEqual([]);
      expect(existsSync(stateDirectory)).toBe(false);
    },
    { timeout: 10_000, interval: 20 },
  );
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(stateDirectory);
}

function processesNaming(text: string): readonly string[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => {
      try {
        return readFileSync(`/proc/${entry}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return "";
      }
    })
    .filter((line) => line.includes(text));
}

describe("the end of a local mesh", () => {
  it("comes with the command that holds it, however that ends", async () => {
    const { child, mesh } = await holdMesh(`end1-${process.pid}`);
    child.kill("SIGKILL");
    await expectGone(mesh);
  });

  it("comes when its init is killed, and takes files and processes along", async () => {
    const { child, mesh } = await holdMesh(`end2-${process.pid}`);
    process.kill(mesh.record.initPid, "SIGKILL");
    await expectGone(mesh);
    child.kill("SIGKILL");
  });

  it("does not come with the command when it was detached, but with `down`", async () => {
    const name = `end3-${process.pid}`;
    const { child, mesh } = await holdMesh(name, { mode: "detach" });
    if (child.exitCode === null) await new Promise((resolve) => child.once("close", resolve));
    expect(processStartTicks(mesh.record.initPid)).toBe(mesh.record.initStartTicks);
    expect(await stopMesh(new StateDirectory(name))).toBe(true);
    await expectGone(mesh);
    expect(await stopMesh(new StateDirectory(name))).toBe(false);
  });

  it("keeps its state from everybody else while it lasts", async () => {
    const { child, mesh } = await holdMesh(`end4-${process.pid}`);
    expect((statSync(mesh.stateDirectory).mode & 0o777).toString(8)).toBe("700");
    expect((statSync(`${mesh.stateDirectory}/store.sock`).mode & 0o777).toString(8)).toBe("600");
    child.kill("SIGKILL");
    await expectGone(mesh);
  });
});

describe("a local mesh without root", () => {
  it("works in a user namespace, gives pods no capabilities and leaves nothing behind", async () => {
    // As root we become nobody, if nobody may read this project.
    const canSwitch = process.getuid?.() === 0 && (statSync(program).mode & 0o004) !== 0;
    const prefix = canSwitch
      ? [
          "setpriv",
          `--reuid=${nobody}`,
          `--regid=${nobody}`,
          "--clear-groups",
          "env",
          "-u",
          "XDG_RUNTIME_DIR",
          "HOME=/tmp",
        ]
      : [];
    const { child, mesh } = await holdMesh(`end5-${process.pid}`, { prefix });
    expect(mesh.record.rootless).toBe(canSwitch || process.getuid?.() !== 0);
    expect(mesh.call).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^echo-/) });
    expect(mesh.user.stdout).toMatch(/CapBnd:\s+0{16}\n.*read-only file system/i);
    child.kill("SIGKILL");
    await expectGone(mesh);
  });
});
