import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { netnsInode, openNetns } from "@hairpin/native";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findNetns } from "./find-netns.ts";
import { hostProc } from "./host-proc.ts";

const uid = "84ca47d2-d611-45d8-ab0e-08152e9f748d";
const pod = { uid, ips: ["10.9.0.7"] };

/** Real namespaces, and a /proc that says which process is in which. */
describe("findNetns", () => {
  let folder: string;
  let names: string[];

  function namespace(...addresses: readonly string[]): string {
    const name = `hp-find-${process.pid}-${names.length}`;
    execFileSync("ip", ["netns", "add", name]);
    names.push(name);
    const run = (...argv: string[]) => execFileSync("ip", ["-n", name, ...argv]);
    run("link", "set", "lo", "up");
    for (const address of addresses) run("address", "add", address, "dev", "lo");
    return `/run/netns/${name}`;
  }

  function processIn(pid: number, netns: string, { startTime = pid, cgroup = `0::/kubepods/pod${uid}/c` } = {}): void {
    const path = join(folder, String(pid));
    mkdirSync(join(path, "ns"), { recursive: true });
    symlinkSync(netns, join(path, "ns/net"));
    writeFileSync(join(path, "cgroup"), `${cgroup}\n`);
    writeFileSync(join(path, "stat"), `${pid} (x) S ${Array.from({ length: 18 }, () => 0).join(" ")} ${startTime} 0`);
  }

  async function find(wanted = pod): Promise<number | undefined> {
    const handle = (await findNetns(hostProc(folder), [wanted])).get(wanted.uid);
    const inode = handle === undefined ? undefined : netnsInode(handle);
    handle?.close();
    return inode;
  }

  function inodeOf(path: string): number {
    const handle = openNetns(path);
    const inode = netnsInode(handle);
    handle.close();
    return inode;
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "proc-"));
    names = [];
    processIn(1, namespace("10.9.0.1/32"), { cgroup: "0::/init.scope" });
    writeFileSync(join(folder, "uptime"), "");
  });
  afterEach(() => {
    for (const name of names) execFileSync("ip", ["netns", "del", name]);
    rmSync(folder, { recursive: true });
  });

  it("opens the namespace of the pod's processes", async () => {
    const path = namespace("10.9.0.7/32");
    processIn(100, path);
    processIn(101, path);
    expect(await find()).toBe(inodeOf(path));
  });

  it("never takes the host's own namespace for the pod's", async () => {
    processIn(100, join(folder, "1/ns/net"));
    expect(await find({ uid, ips: ["10.9.0.1"] })).toBeUndefined();
  });

  it("does not believe a namespace that has none of the pod's addresses", async () => {
    processIn(100, namespace("10.9.0.8/32"));
    expect(await find()).toBeUndefined();
  });

  it("takes the namespace of the oldest process where a pod has several with its address", async () => {
    const [older, younger] = [namespace("10.9.0.7/32"), namespace("10.9.0.7/32")];
    processIn(100, younger, { startTime: 9 });
    processIn(200, older, { startTime: 5 });
    expect(await find()).toBe(inodeOf(older));
  });

  it("knows an address of version 6", async () => {
    const path = namespace("fd09::7/128");
    processIn(100, path);
    expect(await find({ uid, ips: ["fd09::7"] })).toBe(inodeOf(path));
  });

  it("passes over processes that end while they are read", async () => {
    mkdirSync(join(folder, "300"));
    expect(await find()).toBeUndefined();
  });
});
