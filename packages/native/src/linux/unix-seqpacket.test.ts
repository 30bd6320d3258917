import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SeqpacketConnection, SeqpacketListener } from "./unix-seqpacket.ts";
import { connectSeqpacket, listenSeqpacket } from "./unix-seqpacket.ts";

let directory: string;
let path: string;
let listener: SeqpacketListener;
const open: SeqpacketConnection[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "seqpacket-"));
  path = join(directory, "test.sock");
  listener = listenSeqpacket(path);
});

afterEach(() => {
  for (const connection of open.splice(0)) connection.close();
  listener.close();
  rmSync(directory, { recursive: true });
});

async function pair(): Promise<[SeqpacketConnection, SeqpacketConnection]> {
  const client = connectSeqpacket(path);
  const server = await listener.accept();
  if (server === undefined) throw new Error("the listener closed");
  open.push(client, server);
  return [client, server];
}

const openFiles = (): number => readdirSync("/proc/self/fd").length;
const truncated = { code: "ERR_SEQPACKET_TRUNCATED" };

describe("SeqpacketConnection", () => {
  it("keeps messages apart and in order", async () => {
    const [client, server] = await pair();
    client.send(Buffer.from("first"));
    client.send(Buffer.from("second"));
    const texts = [await server.receive(), await server.receive()].map((message) =>
      String(Buffer.from(message?.bytes ?? [])),
    );
    expect(texts).toEqual(["first", "second"]);
  });

  it("waits for a message", async () => {
    const [client, server] = await pair();
    const receiving = server.receive();
    await new Promise((resolve) => setImmediate(resolve));
    client.send(Buffer.from([7]));
    expect(await receiving).toEqual({ bytes: Uint8Array.of(7), fds: [] });
  });

  it("passes a descriptor that stands for the same open file and is closed on exec", async () => {
    const [client, server] = await pair();
    const file = openSync(path.replace(/[^/]*$/, ""), "r");
    client.send(Buffer.from("take it"), [file]);
    const message = await server.receive();
    const [received = -1] = message?.fds ?? [];
    expect(received).not.toBe(file);
    expect(fstatSync(received).ino).toBe(fstatSync(file).ino);
    closeSync(received);
    closeSync(file);
  });

  it("refuses a message longer than its limit and keeps none of its descriptors", async () => {
    const [client, server] = await pair();
    const before = openFiles();
    client.send(Buffer.alloc(1025), [0]);
    await expect(server.receive()).rejects.toMatchObject(truncated);
    expect(openFiles()).toBe(before);
  });

  it("takes a message of exactly the limit", async () => {
    const [client, server] = await pair();
    client.send(Buffer.alloc(1024));
    expect((await server.receive())?.bytes.length).toBe(1024);
  });

  it.each([2, 3, 10])("refuses %i descriptors where one is allowed and keeps none of them", async (count) => {
    const [client, server] = await pair();
    const before = openFiles();
    client.send(
      Buffer.from("x"),
      Array.from({ length: count }, () => 0),
    );
    await expect(server.receive()).rejects.toMatchObject(truncated);
    expect(openFiles()).toBe(before);
  });

  it("ends when the peer closed, after what the peer had sent", async () => {
    const [client, server] = await pair();
    client.send(Buffer.from("last"));
    client.close();
    expect(await server.receive()).toBeDefined();
    expect(await server.receive()).toBeUndefined();
    expect(() => server.send(Buffer.from("x"))).toThrow(expect.objectContaining({ code: "EPIPE" }));
  });

  it("ends a waiting receive when it is closed", async () => {
    const [, server] = await pair();
    const receiving = server.receive();
    server.close();
    server.close();
    expect(await receiving).toBeUndefined();
    expect(() => server.send(Buffer.from("x"))).toThrow(expect.objectContaining({ code: "EPIPE" }));
  });

  it("allows one receive at a time", async () => {
    const [client, server] = await pair();
    const first = server.receive();
    await expect(server.receive()).rejects.toMatchObject({ code: "ERR_SEQPACKET_BUSY" });
    client.send(Buffer.from("x"));
    expect(await first).toBeDefined();
  });

  it("says EAGAIN when the peer does not read", async () => {
    const [client] = await pair();
    expect(() => {
      for (let i = 0; i < 100_000; i++) client.send(Buffer.alloc(1024));
    }).toThrow(expect.objectContaining({ code: "EAGAIN" }));
  });

  it("refuses to send nothing", async () => {
    const [client] = await pair();
    expect(() => client.send(new Uint8Array(0))).toThrow(expect.objectContaining({ code: "ERR_SEQPACKET_EMPTY" }));
  });

  it("knows the process at the other end", async () => {
    const [client, server] = await pair();
    const self = { pid: process.pid, uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
    expect(server.peer).toEqual(self);
    expect(client.peer).toEqual(self);
  });

  it("leaves no descriptor open", async () => {
    const before = openFiles();
    for (let i = 0; i < 20; i++) {
      const [client, server] = await pair();
      const receiving = server.receive();
      client.close();
      await receiving;
      server.close();
    }
    expect(openFiles()).toBe(before);
  });
});

describe("SeqpacketListener", () => {
  it("lets only its own user connect", () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("ends a waiting accept, removes the path and refuses later connections when it is closed", async () => {
    const accepting = listener.accept();
    listener.close();
    expect(await accepting).toBeUndefined();
    expect(await listener.accept()).toBeUndefined();
    expect(existsSync(path)).toBe(false);
    expect(() => connectSeqpacket(path)).toThrow(expect.objectContaining({ code: "ENOENT" }));
  });

  it("does not push aside one that lives", async () => {
    expect(() => listenSeqpacket(path)).toThrow(expect.objectContaining({ code: "EADDRINUSE" }));
    const [client, server] = await pairAfterProbe();
    client.send(Buffer.from("still here"));
    expect(await server.receive()).toBeDefined();
  });

  it("takes over the path of one that died", async () => {
    const { execFileSync } = await import("node:child_process");
    const abandoned = join(directory, "abandoned.sock");
    const script = `import("${import.meta.dirname}/unix-seqpacket.ts").then(m=>{m.listenSeqpacket(${JSON.stringify(abandoned)});process.exit()})`;
    execFileSync(process.execPath, ["-e", script]);
    expect(existsSync(abandoned)).toBe(true);
    const second = listenSeqpacket(abandoned);
    connectSeqpacket(abandoned).close();
    second.close();
  });

  it("does not remove a file that is no socket", () => {
    const file = join(directory, "file");
    writeFileSync(file, "precious");
    expect(() => listenSeqpacket(file)).toThrow(expect.objectContaining({ code: "EADDRINUSE" }));
    expect(existsSync(file)).toBe(true);
  });
});

/** The look whether somebody listens leaves a connection that has ended in the queue. */
async function pairAfterProbe(): Promise<[SeqpacketConnection, SeqpacketConnection]> {
  const probe = await listener.accept();
  expect(await probe?.receive()).toBeUndefined();
  probe?.close();
  return pair();
}
