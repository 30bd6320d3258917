import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs";
import { connect, createServer, Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TestNetns } from "../test-netns.ts";
import { createTestNetns } from "../test-netns.ts";
import { SO_MARK, SOL_SOCKET } from "./constants.ts";
import { netnsFromFd, netnsHasIpv6, netnsInode, openNetns, ownNetnsInode, withNetns } from "./netns.ts";
import { createDialSocket, createListener, createUdpSocket, localAddress } from "./socket.ts";
import { integerOption, originalDestination } from "./socket-options.ts";

let netns: TestNetns;
beforeAll(() => {
  netns = createTestNetns();
});
afterAll(() => netns[Symbol.dispose]());

const currentNetns = (): string => readlinkSync("/proc/thread-self/ns/net");
const own = currentNetns();

/** Accepts one connection inside the namespace and runs `look` on it. */
async function acceptOne<T>(listenerFd: number, dial: () => Socket, look: (accepted: Socket) => T): Promise<T> {
  const server = createServer();
  server.listen({ fd: listenerFd });
  const accepting = once(server, "connection");
  const client = dial();
  client.on("error", () => {});
  const [accepted] = (await accepting) as [Socket];
  const seen = look(accepted);
  accepted.destroy();
  client.destroy();
  server.close();
  return seen;
}

describe("withNetns", () => {
  it("runs the action inside and comes back with its result", () => {
    const seen = withNetns(netns.handle, currentNetns);
    expect(seen).toBe(`net:[${netnsInode(netns.handle)}]`);
    expect(seen).not.toBe(own);
    expect(currentNetns()).toBe(own);
    expect(own).toBe(`net:[${ownNetnsInode()}]`);
  });

  it("comes back when the action throws", () => {
    expect(() =>
      withNetns(netns.handle, () => {
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(currentNetns()).toBe(own);
  });

  it("refuses an action that returns a promise, and comes back", () => {
    const call = (): unknown => withNetns(netns.handle, async () => {});
    expect(call).toThrow(expect.objectContaining({ code: "ERR_NETNS_ASYNC" }));
    expect(currentNetns()).toBe(own);
  });

  it("refuses a call within a call, and comes back", () => {
    const call = (): unknown => withNetns(netns.handle, () => withNetns(netns.handle, currentNetns));
    expect(call).toThrow(expect.objectContaining({ code: "ERR_NETNS_NESTED" }));
    expect(currentNetns()).toBe(own);
    expect(withNetns(netns.handle, () => 1)).toBe(1);
  });

  it("does not enter what is no network namespace", () => {
    const file = netnsFromFd(openSync("/proc/self/ns/uts", "r"));
    expect(() => withNetns(file, currentNetns)).toThrow(expect.objectContaining({ code: "EINVAL", syscall: "setns" }));
    file.close();
    expect(() => openNetns("/run/netns/no-such-name")).toThrow(expect.objectContaining({ code: "ENOENT" }));
  });

  it("comes back to the same place in a worker thread that was loaded while nobody was inside", async () => {
    const script = `
      import("${import.meta.dirname}/netns.ts").then(({ openNetns, withNetns }) => {
        const { readlinkSync } = require("node:fs");
        const look = () => readlinkSync("/proc/thread-self/ns/net");
        const handle = openNetns("${netns.path}");
        const inside = withNetns(handle, look);
        handle.close();
        require("node:worker_threads").parentPort.postMessage([inside, look()]);
      })`;
    const worker = new Worker(script, { eval: true });
    const [seen] = (await once(worker, "message")) as [[string, string]];
    expect(seen).toEqual([`net:[${netnsInode(netns.handle)}]`, own]);
    await worker.terminate();
  });

  it("aborts the process when it cannot come back", () => {
    const script = `
      import("${import.meta.dirname}/netns.ts").then(({ openNetns, withNetns, ownNetnsInode }) => {
        const { readdirSync, readlinkSync, closeSync } = require("node:fs");
        const own = "net:[" + ownNetnsInode() + "]";
        withNetns(openNetns("${netns.path}"), () => {
          for (const fd of readdirSync("/proc/self/fd")) {
            try { if (readlinkSync("/proc/self/fd/" + fd) === own) closeSync(Number(fd)); } catch {}
          }
        });
        console.log("survived");
      })`;
    const child = spawnSync("/bin/sh", ["-c", 'ulimit -c 0; exec "$0" -e "$1"', process.execPath, script], {
      encoding: "utf8",
    });
    expect(child.stdout).toBe("");
    expect(child.stderr).toContain("cannot return to the own network namespace");
    expect(child.signal).toBe("SIGABRT");
  });
});

describe("netnsHasIpv6", () => {
  it("looks at the namespace it is asked about", () => {
    const setIpv6 = (disabled: number): string =>
      netns.run(`echo ${disabled} > /proc/sys/net/ipv6/conf/lo/disable_ipv6`);
    expect(netnsHasIpv6(netns.handle)).toBe(true);
    setIpv6(1);
    expect(netnsHasIpv6(netns.handle)).toBe(false);
    setIpv6(0);
    netns.run("ip link set lo down; ip link set lo up");
    expect(netnsHasIpv6(netns.handle)).toBe(true);
  });
});

describe("sockets in a namespace", () => {
  it("listen there and nowhere else", async () => {
    const fd = createListener({ netns: netns.handle, ip: "127.0.0.1", port: 0, mark: 1337, transparent: "required" });
    const { port } = localAddress(fd);
    expect(integerOption(fd, SOL_SOCKET, SO_MARK)).toBe(1337);
    await expect(once(connect(port, "127.0.0.1"), "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    const dial = createDialSocket({ netns: netns.handle, family: 4, mark: 1337 });
    expect(integerOption(dial, SOL_SOCKET, SO_MARK)).toBe(1337);
    const peer = await acceptOne(
      fd,
      () => new Socket({ fd: dial }).connect(port, "127.0.0.1"),
      (s) => s.remoteAddress,
    );
    expect(peer).toBe("127.0.0.1");
  });

  it("send UDP with the mark", () => {
    const fd = createUdpSocket({ netns: netns.handle, ip: "0.0.0.0", port: 0, mark: 1337 });
    expect(integerOption(fd, SOL_SOCKET, SO_MARK)).toBe(1337);
    closeSync(fd);
  });

  it.each([
    { family: 4 as const, spoofed: "198.51.100.7", to: "127.0.0.1", seen: "::ffff:198.51.100.7" },
    { family: 6 as const, spoofed: "2001:db8::7", to: "::1", seen: "2001:db8::7" },
  ])("connect from an address that is somebody else's, over IPv$family", async ({ family, spoofed, to, seen }) => {
    // Answers to the foreign address come back to this host, as the mark rules of a captured pod arrange it.
    netns.run(`ip -${family} route replace local ${spoofed} dev lo`);
    const fd = createListener({ netns: netns.handle, ip: "::", port: 0 });
    const { port } = localAddress(fd);
    const dial = createDialSocket({ netns: netns.handle, family, localIp: spoofed, transparent: true });
    expect(localAddress(dial)).toEqual({ ip: spoofed, port: 0 });
    expect(
      await acceptOne(
        fd,
        () => new Socket({ fd: dial }).connect(port, to),
        (s) => s.remoteAddress,
      ),
    ).toBe(seen);
    netns.run(`ip -${family} route del local ${spoofed} dev lo`);
  });

  it.each([
    { family: 4 as const, dialled: "192.0.2.10", source: "10.99.0.1" },
    { family: 6 as const, dialled: "2001:db8:1::10", source: "fd99::1" },
  ])("know where a redirected connection was going, over IPv$family", async ({ family, dialled, source }) => {
    const fd = createListener({ netns: netns.handle, ip: "::", port: 0, transparent: "best-effort" });
    const { port } = localAddress(fd);
    netns.run(
      `ip link add d${family} type veth peer name p${family}; ip link set d${family} up; ip link set p${family} up
       ip -${family} addr add ${source}/${family === 4 ? 32 : 128} dev d${family} ${family === 6 ? "nodad" : ""}
       ip -${family} route add default dev d${family}
       nft -f -`,
      `table inet redirect-${family} { chain output { type nat hook output priority -100;
         ${family === 4 ? "ip" : "ip6"} daddr ${dialled} tcp dport 80 redirect to :${port}; }; }`,
    );
    const dial = createDialSocket({ netns: netns.handle, family });
    const seen = await acceptOne(fd, () => new Socket({ fd: dial }).connect(80, dialled), originalDestination);
    expect(seen).toEqual({ ip: dialled, port: 80 });
  });

  it("leave no descriptor behind when they cannot be made", () => {
    const before = readdirSync("/proc/self/fd").length;
    const options = { netns: netns.handle, family: 4 as const, localIp: "203.0.113.9" };
    expect(() => createDialSocket(options)).toThrow(expect.objectContaining({ code: "EADDRNOTAVAIL" }));
    expect(readdirSync("/proc/self/fd").length).toBe(before);
    expect(currentNetns()).toBe(own);
  });

  it("needs the capability for a foreign source address", () => {
    const script = `import("${import.meta.dirname}/socket.ts").then(({ createDialSocket, createListener }) => {
      createListener({ ip: "127.0.0.1", port: 0, transparent: "best-effort" });
      try { createDialSocket({ family: 4, localIp: "198.51.100.7", transparent: true }); } catch (error) { console.log(error.code); }
      process.exit();
    })`;
    const output = execFileSync("setpriv", [
      "--bounding-set=-all",
      "--inh-caps=-all",
      "--reuid=65534",
      "--clear-groups",
      process.execPath,
      "-e",
      script,
    ]);
    expect(String(output).trim()).toBe("EPERM");
  });
});
