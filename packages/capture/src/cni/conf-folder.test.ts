import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noLogger } from "@hairpin/shared/telemetry";
import { eventually, ManualClock } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfFolder } from "./conf-folder.ts";

const original = JSON.stringify({ cniVersion: "1.0.0", name: "pods", plugins: [{ type: "ptp" }] });

describe("ConfFolder", () => {
  let folder: string;
  let path: string;
  let looks: (string | undefined)[];
  let clock: ManualClock;
  let conf: ConfFolder;
  const isChained = (): boolean => readFileSync(path, "utf8").includes("hairpin-cni");

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "cni-conf-"));
    path = join(folder, "10-pods.conflist");
    looks = [];
    clock = new ManualClock();
    conf = new ConfFolder({ clock, logger: noLogger, onLooked: (file) => looks.push(file) }, folder, {});
  });
  afterEach(async () => {
    await conf.stop();
    rmSync(folder, { recursive: true });
  });

  it("chains the plugin and keeps the file's mode", async () => {
    writeFileSync(path, original, { mode: 0o600 });
    await conf.start();
    expect(isChained()).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(looks).toEqual(["10-pods.conflist"]);
  });

  it("leaves no other file behind", async () => {
    writeFileSync(path, original);
    await conf.start();
    expect(readdirSync(folder)).toEqual(["10-pods.conflist"]);
  });

  it("chains it again when the network's owner writes its configuration anew", async () => {
    writeFileSync(path, original);
    await conf.start();
    writeFileSync(path, original);
    await eventually(() => expect(isChained()).toBe(true));
  });

  it("waits for a configuration that comes later", async () => {
    await conf.start();
    expect(looks).toEqual([undefined]);
    writeFileSync(path, original);
    await eventually(() => expect(looks.at(-1)).toBe("10-pods.conflist"));
  });

  it("does not need a notice to look again", async () => {
    rmSync(folder, { recursive: true });
    await conf.start();
    expect(looks).toEqual([undefined]);
    mkdirSync(folder);
    writeFileSync(path, original);
    await clock.advance(10_000);
    await eventually(() => expect(isChained()).toBe(true));
  });

  it("takes it out, and does not chain it again", async () => {
    writeFileSync(path, original);
    await conf.start();
    await conf.stop();
    await conf.unchain();
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(JSON.parse(original));
    await clock.advance(60_000);
    expect(isChained()).toBe(false);
  });
});
