import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type HostProc, hostProc } from "./host-proc.ts";

describe("hostProc", () => {
  let folder: string;
  let root: string;
  let host: HostProc;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "proc-"));
    root = join(folder, "1/root");
    mkdirSync(join(root, "run/netns"), { recursive: true });
    mkdirSync(join(root, "var"));
    writeFileSync(join(root, "run/netns/cni-1"), "");
    host = hostProc(folder);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("finds a file of the host below its first process's root", () => {
    expect(host.pathOf("/run/netns/cni-1")).toBe(join(root, "run/netns/cni-1"));
    expect(host.pathOf("/run/netns/gone")).toBe(join(root, "run/netns/gone"));
    expect(host.pathOf("/")).toBe(join(root, "/"));
  });

  it("follows an absolute link in the host's root, not in ours", () => {
    symlinkSync("/run", join(root, "var/run"));
    expect(host.pathOf("/var/run/netns/cni-1")).toBe(join(root, "run/netns/cni-1"));
  });

  it("follows relative links, and does not leave the host's root by them", () => {
    symlinkSync("../run", join(root, "var/run"));
    symlinkSync("../../../../run", join(root, "var/up"));
    expect(host.pathOf("/var/run/netns/cni-1")).toBe(join(root, "run/netns/cni-1"));
    expect(host.pathOf("/var/up/netns/cni-1")).toBe(join(root, "run/netns/cni-1"));
  });

  it("ends at links that lead to themselves", () => {
    symlinkSync("/var/run", join(root, "var/run"));
    expect(() => host.pathOf("/var/run/netns")).toThrow(expect.objectContaining({ code: "ELOOP" }));
  });

  it("finds a process's namespace in the host's /proc", () => {
    expect(host.pathOf("/proc/42/ns/net")).toBe(join(folder, "42/ns/net"));
    expect(host.netnsPath).toBe(join(folder, "1/ns/net"));
  });
});
