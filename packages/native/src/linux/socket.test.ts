import { closeSync, readdirSync } from "node:fs";
import { connect, createServer, Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import {
  SO_KEEPALIVE,
  SO_REUSEPORT,
  SOL_SOCKET,
  SOL_TCP,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_USER_TIMEOUT,
} from "./constants.ts";
import { raiseFileLimit } from "./file-limit.ts";
import { adoptUdpSocket, createDialSocket, createListener, createUdpSocket, localAddress } from "./socket.ts";
import { integerOption, setKeepalive, setUserTimeout, socketFd } from "./socket-options.ts";

async function listenOn(fd: number): Promise<{ server: ReturnType<typeof createServer>; port: number }> {
  const server = createServer((socket) => socket.on("error", () => {}).end(`${socket.remoteAddress}`));
  server.listen({ fd });
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port };
}

async function textFrom(socket: Socket): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

const openFiles = (): number => readdirSync("/proc/self/fd").length;

describe("createListener", () => {
  it("makes a descriptor that node:net serves, for both families when it listens on ::", async () => {
    const { server, port } = await listenOn(createListener({ ip: "::", port: 0 }));
    expect(await textFrom(connect(port, "127.0.0.1"))).toBe("::ffff:127.0.0.1");
    expect(await textFrom(connect(port, "::1"))).toBe("::1");
    server.close();
  });

  it("takes IPv6 alone on any other IPv6 address", async () => {
    const { server, port } = await listenOn(createListener({ ip: "::1", port: 0 }));
    expect(await textFrom(connect(port, "::1"))).toBe("::1");
    await expect(once(connect(port, "127.0.0.1"), "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    server.close();
  });

  it("shares a port between listeners that all ask for it", () => {
    const first = createListener({ ip: "127.0.0.1", port: 0, reusePort: true });
    const { port } = localAddress(first);
    const second = createListener({ ip: "127.0.0.1", port, reusePort: true });
    expect(integerOption(second, SOL_SOCKET, SO_REUSEPORT)).toBe(1);
    const before = openFiles();
    const refused = expect.objectContaining({ code: "EADDRINUSE", syscall: "bind" });
    expect(() => createListener({ ip: "127.0.0.1", port })).toThrow(refused);
    expect(openFiles()).toBe(before);
    closeSync(first);
    closeSync(second);
  });
});

describe("createDialSocket", () => {
  it("connects from the address it was bound to", async () => {
    const { server, port } = await listenOn(createListener({ ip: "127.0.0.1", port: 0 }));
    const fd = createDialSocket({ family: 4, localIp: "127.0.0.7" });
    expect(localAddress(fd)).toEqual({ ip: "127.0.0.7", port: 0 });
    expect(await textFrom(new Socket({ fd }).connect(port, "127.0.0.1"))).toBe("127.0.0.7");
    server.close();
  });

  it("takes a port at once when told so", () => {
    const fd = createDialSocket({ family: 6, localIp: "::1", bindAddressNoPort: false });
    expect(localAddress(fd).port).toBeGreaterThan(0);
    closeSync(fd);
  });

  it("keeps Node's error when nobody listens", async () => {
    const probe = createListener({ ip: "127.0.0.1", port: 0 });
    const { port } = localAddress(probe);
    closeSync(probe);
    const socket = new Socket({ fd: createDialSocket({ family: 4 }) }).connect(port, "127.0.0.1");
    await expect(once(socket, "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("closes the descriptor when the address is not ours", () => {
    const before = openFiles();
    const notOurs = expect.objectContaining({ code: "EADDRNOTAVAIL" });
    expect(() => createDialSocket({ family: 4, localIp: "192.0.2.1" })).toThrow(notOurs);
    expect(openFiles()).toBe(before);
  });
});

describe("createUdpSocket", () => {
  it("gives every socket a port of its own when the kernel chooses, also with port sharing", () => {
    const fds = Array.from({ length: 2000 }, () => createUdpSocket({ ip: "127.0.0.1", port: 0, reusePort: true }));
    expect(new Set(fds.map((fd) => localAddress(fd).port)).size).toBe(fds.length);
    for (const fd of fds) closeSync(fd);
  });

  it("shares a port that was named", () => {
    const first = createUdpSocket({ ip: "127.0.0.1", port: 0 });
    const { port } = localAddress(first);
    closeSync(first);
    const fds = [1, 2].map(() => createUdpSocket({ ip: "127.0.0.1", port, reusePort: true }));
    expect(fds.map((fd) => localAddress(fd).port)).toEqual([port, port]);
    for (const fd of fds) closeSync(fd);
  });
});

describe("adoptUdpSocket", () => {
  it.each(["127.0.0.1", "::1"])("gives a bound descriptor to node:dgram on %s", async (ip) => {
    const server = await adoptUdpSocket(createUdpSocket({ ip, port: 0 }));
    const client = await adoptUdpSocket(createUdpSocket({ ip, port: 0 }));
    client.send("ping", server.address().port, ip);
    const [message, from] = (await once(server, "message")) as [Buffer, { port: number }];
    expect(String(message)).toBe("ping");
    expect(from.port).toBe(client.address().port);
    client.close();
    server.close();
  });
});

describe("socket options", () => {
  it("sets every number of TCP keepalive and the user timeout", () => {
    const fd = createDialSocket({ family: 4 });
    setKeepalive(fd, { timeSeconds: 180, intervalSeconds: 75, retries: 9 });
    setUserTimeout(fd, 30_000);
    const option = (name: number): number => integerOption(fd, SOL_TCP, name);
    expect(integerOption(fd, SOL_SOCKET, SO_KEEPALIVE)).toBe(1);
    expect([TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT].map(option)).toEqual([180, 75, 9, 30_000]);
    closeSync(fd);
  });

  it("has accepted sockets inherit keepalive and user timeout from the listener", async () => {
    const fd = createListener({ ip: "127.0.0.1", port: 0 });
    setKeepalive(fd, { timeSeconds: 180, intervalSeconds: 75, retries: 9 });
    setUserTimeout(fd, 30_000);
    const { server, port } = await listenOn(fd);
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const client = connect(port, "127.0.0.1");
    const acceptedFd = socketFd((await accepted)[0]);
    const option = (name: number): number => integerOption(acceptedFd, SOL_TCP, name);
    expect(integerOption(acceptedFd, SOL_SOCKET, SO_KEEPALIVE)).toBe(1);
    expect([TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT].map(option)).toEqual([180, 75, 9, 30_000]);
    client.destroy();
    server.close();
  });

  it("finds the descriptor of a connected socket, and says when there is none", async () => {
    const { server, port } = await listenOn(createListener({ ip: "127.0.0.1", port: 0 }));
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    expect(localAddress(socketFd(socket)).port).toBe(socket.localPort);
    socket.destroy();
    await once(socket, "close");
    expect(() => socketFd(socket)).toThrow(expect.objectContaining({ code: "ERR_NO_DESCRIPTOR" }));
    server.close();
  });

  it("raises the soft limit of open files to the hard limit", () => {
    const limit = raiseFileLimit();
    expect(limit.soft).toBe(limit.hard);
    expect(limit.soft).toBeGreaterThan(100);
  });
});
