import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { connectTcp } from "./connect-tcp.ts";
import type { WireError } from "./errors.ts";
import { acceptRaw } from "./raw-socket.ts";
import { createSocketChannel } from "./socket.ts";
import { listenTcp } from "./tcp-listener.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function listenAndDial(
  host = "127.0.0.1",
): Promise<{ accepted: net.Socket; client: net.Socket; close: () => Promise<void> }> {
  const connection = Promise.withResolvers<net.Socket>();
  const listener = await listenTcp({ host, port: 0, onConnection: (socket) => connection.resolve(socket) });
  const client = await connectTcp({ ip: host, port: listener.address.port, timeoutMs: 2000 });
  const accepted = await connection.promise;
  cleanups.push(
    () => client.destroy(),
    () => accepted.destroy(),
    () => listener.close(),
  );
  return { accepted, client, close: () => listener.close() };
}

describe("acceptRaw", () => {
  it("hands out raw sockets also of a server whose handle has no hook for it", async () => {
    const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
    const withoutHook = { _handle: {}, on: server.on.bind(server) } as unknown as net.Server;
    const connection = Promise.withResolvers<net.Socket>();
    acceptRaw(withoutHook, connection.resolve);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
    const accepted = await connection.promise;
    cleanups.push(
      () => client.destroy(),
      () => accepted.destroy(),
    );
    expect(accepted.isPaused()).toBe(true);
    // Rewrapped sockets are not counted as the server's.
    server.close();
    await once(server, "close");
    createSocketChannel(accepted).write(Buffer.from("x"));
    expect(String((await once(client, "data"))[0])).toBe("x");
  });
});

describe("listenTcp", () => {
  it("hands out paused sockets with both addresses", async () => {
    const { accepted, client } = await listenAndDial();
    expect(accepted.remotePort).toBe(client.localPort);
    expect(accepted.localPort).toBe(client.remotePort);
    expect(accepted.isPaused()).toBe(true);
  });

  it("closes while accepted sockets live on, taken over or not", async () => {
    const { accepted, client, close } = await listenAndDial();
    await close();
    await close();
    const received = Promise.withResolvers<string>();
    const channel = createSocketChannel(accepted);
    channel.setHandler({
      onData: (chunk) => received.resolve(Buffer.from(chunk).toString()),
      onEnd: () => undefined,
      onDrain: () => undefined,
      onClose: () => undefined,
    });
    channel.resume();
    createSocketChannel(client).write(Buffer.from("still here"));
    expect(await received.promise).toBe("still here");
  });

  it("listens on IPv6", async () => {
    const { accepted } = await listenAndDial("::1");
    expect(accepted.remoteAddress).toBe("::1");
  });

  it("listens on a descriptor that somebody bound", async () => {
    // A child process inherits the listening socket as descriptor 3 and serves it, as a pod's proxy does with a socket
    // that was made in another network namespace.
    const bound = net.createServer().listen(0, "127.0.0.1");
    await once(bound, "listening");
    const descriptor = (bound as unknown as { _handle: { fd: number } })._handle.fd;
    const script = new URL("./testdata/inherited-listener.ts", import.meta.url).pathname;
    const child = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit", descriptor] });
    cleanups.push(() => child.kill());
    const { port } = bound.address() as net.AddressInfo;
    const [ready] = (await once(child.stdout as Readable, "data")) as [Buffer];
    expect(ready.toString()).toBe(`listening on ${port}\n`);
    bound.close();
    const client = net.connect(port, "127.0.0.1");
    const [greeting] = (await once(client, "data")) as [Buffer];
    client.destroy();
    expect(greeting.toString()).toBe("from the child");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  it("rejects with the kernel's code", async () => {
    const first = await listenTcp({ host: "127.0.0.1", port: 0, onConnection: () => undefined });
    cleanups.push(() => first.close());
    const second = listenTcp({ host: "127.0.0.1", port: first.address.port, onConnection: () => undefined });
    await expect(second).rejects.toMatchObject({ code: "EADDRINUSE" });
  });

  it("survives running out of descriptors and accepts again afterwards", async () => {
    // In a process of its own with a small limit: the child fills it, is refused, frees it, and must accept again.
    const child = new URL("./testdata/descriptor-exhaustion.ts", import.meta.url).pathname;
    const script = `ulimit -n 64; exec "${process.execPath}" "${child}"`;
    const { stdout } = await promisify(execFile)("bash", ["-c", script], { timeout: 20_000 });
    expect(JSON.parse(stdout)).toEqual({ exhausted: true, acceptedAfterwards: true });
  }, 30_000);
});

describe("connectTcp", () => {
  it("keeps the kernel's code when refused", async () => {
    const listener = await listenTcp({ host: "127.0.0.1", port: 0, onConnection: () => undefined });
    await listener.close();
    const dial = connectTcp({ ip: "127.0.0.1", port: listener.address.port, timeoutMs: 2000 });
    await expect(dial).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("gives up after the timeout", async () => {
    // A process that listens and never accepts: once its queue is full the kernel drops further SYNs.
    const code = `const net=require("net");const s=net.createServer().listen({port:0,host:"127.0.0.1",backlog:1},()=>{
      require("fs").writeSync(1,String(s.address().port));Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0)})`;
    const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
    cleanups.push(() => child.kill("SIGKILL"));
    const [port] = (await once(child.stdout, "data")) as [Buffer];
    const target = { ip: "127.0.0.1", port: Number(port.toString()), timeoutMs: 100 };
    const dials = await Promise.allSettled(Array.from({ length: 6 }, () => connectTcp(target)));
    for (const dial of dials) if (dial.status === "fulfilled") dial.value.destroy();
    const refused = dials.filter((dial) => dial.status === "rejected").map((dial) => (dial.reason as WireError).code);
    expect(refused.length).toBeGreaterThan(0);
    expect(new Set(refused)).toEqual(new Set(["TCP_CONNECT_TIMEOUT"]));
  });

  it("binds the local address it is given", async () => {
    const connection = Promise.withResolvers<net.Socket>();
    const listener = await listenTcp({
      host: "127.0.0.1",
      port: 0,
      onConnection: (socket) => connection.resolve(socket),
    });
    cleanups.push(() => listener.close());
    const client = await connectTcp({
      ip: "127.0.0.1",
      port: listener.address.port,
      localIp: "127.0.0.9",
      timeoutMs: 2000,
    });
    cleanups.push(() => client.destroy());
    const accepted = await connection.promise;
    cleanups.push(() => accepted.destroy());
    expect(accepted.remoteAddress).toBe("127.0.0.9");
  });

  it("refuses names: nothing is resolved here", async () => {
    await expect(connectTcp({ ip: "localhost", port: 1, timeoutMs: 1000 })).rejects.toThrow(
      "Not an IP address: localhost",
    );
  });

  it("rejects a port out of range and a bad descriptor", async () => {
    await expect(connectTcp({ ip: "127.0.0.1", port: 70_000, timeoutMs: 1000 })).rejects.toMatchObject({
      code: "ERR_SOCKET_BAD_PORT",
    });
    await expect(connectTcp({ fd: 999_999, ip: "127.0.0.1", port: 1, timeoutMs: 1000 })).rejects.toThrow();
  });
});
