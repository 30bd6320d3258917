import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { installPlugin, removePlugin } from "./plugin-files.ts";

const repository = join(import.meta.dirname, "../../../..");

/** A host that has nothing at all: no Node, no shell, no C library, not even a /proc. */
describe("installPlugin", () => {
  let bundle: string;
  let root: string;
  let binFolder: string;

  beforeAll(() => {
    const out = mkdtempSync(join(tmpdir(), "bundle-"));
    execFileSync(process.execPath, [join(repository, "scripts/build-bundle.ts"), out, "cni-plugin.cjs"]);
    bundle = join(out, "cni-plugin.cjs");
    return () => rmSync(out, { recursive: true });
  });
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "host-"));
    binFolder = join(root, "opt/cni/bin");
    mkdirSync(binFolder, { recursive: true });
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const install = async (pluginPath = bundle): Promise<void> =>
    await installPlugin({ binFolder, hostBinFolder: "/opt/cni/bin", pluginPath, hostRoot: root });
  const generations = (): string[] => readdirSync(join(binFolder, ".hairpin-cni"));

  function call(environment: Record<string, string>, input: object): string {
    const options = {
      env: { PATH: "/usr/sbin:/usr/bin", ...environment },
      input: JSON.stringify(input),
      encoding: "utf8",
    } as const;
    return execFileSync("chroot", [root, "/opt/cni/bin/hairpin-cni"], {
      ...options,
      stdio: ["pipe", "pipe", "inherit"],
    });
  }

  it("gives the host a plugin that runs there", async () => {
    await install();
    expect(JSON.parse(call({ CNI_COMMAND: "VERSION" }, {}))).toMatchObject({ cniVersion: "1.1.0" });
    const config = { cniVersion: "1.0.0", prevResult: { ips: [] } };
    expect(JSON.parse(call({ CNI_COMMAND: "ADD" }, config))).toEqual({ ips: [] });
    expect(readdirSync(binFolder).toSorted()).toEqual([".hairpin-cni", "hairpin-cni"]);
  });

  it("copies nothing again that is there, and replaces another build", async () => {
    await install();
    const [first] = generations();
    const { ctimeMs } = statSync(join(binFolder, ".hairpin-cni", first ?? "", "node"));
    await install();
    expect(generations()).toEqual([first]);
    expect(statSync(join(binFolder, ".hairpin-cni", first ?? "", "node")).ctimeMs).toBe(ctimeMs);
    const other = join(root, "other.cjs");
    writeFileSync(
      other,
      `require(${JSON.stringify("node:fs")});\n${execFileSync("cat", [bundle], { encoding: "utf8" })}`,
    );
    await install(other);
    expect(generations()).toHaveLength(1);
    expect(generations()).not.toEqual([first]);
    expect(JSON.parse(call({ CNI_COMMAND: "VERSION" }, {}))).toMatchObject({ cniVersion: "1.1.0" });
  });

  it("refuses with what the host said, and keeps the plugin that worked", async () => {
    await install();
    const broken = join(root, "broken.cjs");
    writeFileSync(broken, 'throw new Error("does not run here")');
    await expect(install(broken)).rejects.toMatchObject({
      code: "CNI_PLUGIN_UNUSABLE",
      message: expect.stringContaining("does not run here"),
    });
    const nowhere = installPlugin({ binFolder, hostBinFolder: "/usr/cni", pluginPath: bundle, hostRoot: root });
    await expect(nowhere).rejects.toThrow("/usr/cni/.hairpin-cni-new");
    expect(JSON.parse(call({ CNI_COMMAND: "VERSION" }, {}))).toMatchObject({ cniVersion: "1.1.0" });
  });

  it("says in a pod's events that its files have gone", async () => {
    await install();
    rmSync(join(binFolder, ".hairpin-cni"), { recursive: true });
    expect(() => call({ CNI_COMMAND: "ADD" }, {})).toThrow(
      expect.objectContaining({ stdout: expect.stringContaining("is incomplete") }),
    );
  });

  it("leaves nothing behind when it is removed", async () => {
    await install();
    await removePlugin(binFolder);
    await removePlugin(binFolder);
    expect(readdirSync(binFolder)).toEqual([]);
  });
});
