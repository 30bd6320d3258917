import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ContainerPlan, containerScript, programArgv } from "./container-script.ts";
import { sandboxScript } from "./sandbox-script.ts";
import { shellCommand } from "./shell-quote.ts";

const plan: ContainerPlan = {
  hostname: "cart-1",
  stage: { run: "/tmp/mesh/run", tmp: "/tmp/mesh/tmp" },
  mounts: [],
  hidden: ["/tmp/mesh"],
  nodePath: "/opt/node",
  identity: { user: { uid: 65_534, gid: 65_534 }, capabilities: [] },
  environment: { A: "it's" },
  workingDirectory: "/",
  argv: ["node", "-e", "1"],
};

describe("shellCommand", () => {
  it("gives every word to the program as it is", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string().filter((text) => !text.includes("\0")),
          { maxLength: 4 },
        ),
        (words) => {
          const script = `printf '%s\\0' ${shellCommand(words)}`;
          const { stdout } = spawnSync("sh", ["-c", script], { encoding: "utf8" });
          const expected = words.length === 0 ? [""] : words;
          expect(stdout.split("\0").slice(0, -1)).toEqual(expected);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("containerScript", () => {
  it("drops user and privileges, and passes only the container's own environment", () => {
    const argv = programArgv(plan).join(" ");
    expect(argv).toBe(
      "setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs -- env -i A=it's node -e 1",
    );
  });

  it("keeps the mesh's user without root, and only named capabilities of a part", () => {
    const argv = programArgv({ ...plan, identity: { capabilities: ["net_admin"] } });
    expect(argv).toContain("--bounding-set=-all,+net_admin");
    expect(argv.some((word) => word.startsWith("--reuid"))).toBe(false);
  });

  it("covers the mesh's state last: /tmp when it lies there, /run when it lies there", () => {
    const order = (run: string, tmp: string): readonly string[] =>
      [...containerScript({ ...plan, stage: { run, tmp } }).matchAll(/^mount --rbind \S+ (\/run|\/tmp)$/gm)].map(
        (match) => match[1] ?? "",
      );
    expect(order("/tmp/m/run", "/tmp/m/tmp")).toEqual(["/run", "/tmp"]);
    expect(order("/run/user/0/m/run", "/run/user/0/m/tmp")).toEqual(["/tmp", "/run"]);
  });

  it("builds mounts below /run and /var/run aside, and asks that other folders exist", () => {
    const mounts = [
      { source: "/s/a", target: "/var/run/secrets/a", readOnly: true },
      { source: "/s/b", target: "/data", readOnly: false },
    ];
    const script = containerScript({ ...plan, mounts });
    expect(script).toContain(
      'mkdir -p /tmp/mesh/run/secrets/a\nto=/tmp/mesh/run/secrets/a\nmount --bind /s/a "$to"\nmount -o remount,bind,ro,nosuid,nodev "$to"',
    );
    expect(script).toContain("[ -e /data ] || { echo 'the folder /data of a volumeMount does not exist");
  });

  it("is a script that sh understands", () => {
    const { status, stderr } = spawnSync("sh", ["-n"], { input: containerScript(plan), encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });
});

describe("sandboxScript", () => {
  const mountInfo = [
    "1 0 8:1 / / rw,relatime - ext4 /dev/root rw",
    "2 1 0:5 / /proc rw,nosuid - proc proc rw",
    "3 1 0:6 / /mnt/a\\040b rw,nosuid,nodev - tmpfs tmpfs rw",
    "4 1 0:7 / /state/run rw - tmpfs tmpfs rw",
  ].join("\n");
  const options = { mountInfo, runDirectory: "/state/run", deviceDirectory: "/state/run/dev", writableHost: false };

  it("makes every mount read-only with the flags it has, except /proc and the mesh's own", () => {
    const remounts = sandboxScript(options).match(/^mount -o remount.*$/gm);
    expect(remounts).toEqual([
      "mount -o remount,bind,ro,relatime / || echo writable /",
      "mount -o remount,bind,ro,nosuid,nodev '/mnt/a b' || echo writable '/mnt/a b'",
    ]);
  });

  it("leaves the machine's file system alone when asked to", () => {
    expect(sandboxScript({ ...options, writableHost: true })).not.toContain("remount");
  });
});
