import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { bufferPoolStats } from "./buffer-pool.ts";
import type { ByteChannel, ByteChannelHandler } from "./byte-channel.ts";
import { connectTcp } from "./connect-tcp.ts";
import { createSocketChannel, defaultHighWaterMark, SocketChannel } from "./socket.ts";
import { type TcpListener, listenTcp } from "./tcp-listener.ts";
import { noteRead, turnsAreFull } from "./turn.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function listen(onConnection: (socket: net.Socket) => void): Promise<TcpListener> {
  const listener = await listenTcp({ host: "127.0.0.1", port: 0, onConnection });
  cleanups.push(() => listener.close());
  return listener;
}

async function dial(port: number): Promise<net.Socket> {
  const socket = await connectTcp({ ip: "127.0.0.1", port, timeoutMs: 2000 });
  cleanups.push(() => socket.destroy());
  return socket;
}

/** Two connected raw sockets. */
async function socketPair(): Promise<[net.Socket, net.Socket]> {
  const accepted = Promise.withResolvers<net.Socket>();
  const listener = await listen((socket) => accepted.resolve(socket));
  const client = await dial(listener.address.port);
  const server = await accepted.promise;
  cleanups.push(() => server.destroy());
  return [client, server];
}

/** A channel's events as promises and lists. */
class Recorder implements ByteChannelHandler {
  readonly events: string[] = [];
  readonly ended: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly closed: PromiseWithResolvers<Error | undefined> = Promise.withResolvers();
  readonly hash = createHash("sha256");
  bytes = 0;
  drained = Promise.withResolvers<void>();

  onData(chunk: Uint8Array): void {
    this.hash.update(chunk);
    this.bytes += chunk.length;
  }
  onEnd(): void {
    this.events.push("end");
    this.ended.resolve();
  }
  onDrain(): void {
    this.events.push("drain");
    this.drained.resolve();
    this.drained = Promise.withResolvers();
  }
  onClose(error: Error | undefined): void {
    this.events.push("close");
    this.closed.resolve(error);
  }
}

function channelOf(socket: net.Socket, highWaterMark?: number): { channel: ByteChannel; recorder: Recorder } {
  const channel = createSocketChannel(socket, highWaterMark === undefined ? {} : { highWaterMark });
  const recorder = new Recorder();
  channel.setHandler(recorder);
  return { channel, recorder };
}

/** Copies what one channel reads to another, pausing the source while the destination is full: a relay of one direction. */
function relay(from: ByteChannel, to: ByteChannel): void {
  from.setHandler({
    onData: (chunk) => void (to.write(chunk) || from.pause()),
    onEnd: () => to.end(),
    onDrain: () => undefined,
    onClose: (error) => {
      if (error) to.destroy(error);
    },
  });
  to.setHandler({
    onData: () => undefined,
    onEnd: () => undefined,
    onDrain: () => from.resume(),
    onClose: (error) => {
      if (error) from.destroy(error);
    },
  });
  from.resume();
  to.resume();
}

describe("SocketChannel", () => {
  it("delivers bytes both ways and ends each direction by itself", async () => {
    const [left, right] = (await socketPair()).map((socket) => channelOf(socket));
    right!.channel.resume();
    left!.channel.resume();
    left!.channel.write(Buffer.from("ping"));
    left!.channel.end();
    await right!.recorder.ended.promise;
    expect(right!.recorder.bytes).toBe(4);
    right!.channel.write(Buffer.from("still open"));
    right!.channel.end();
    await left!.recorder.ended.promise;
    expect(left!.recorder.bytes).toBe(10);
    expect(await left!.recorder.closed.promise).toBeUndefined();
    expect(await right!.recorder.closed.promise).toBeUndefined();
    expect(left!.recorder.events).toEqual(["end", "close"]);
    expect([left!.channel.bytesRead, left!.channel.bytesWritten]).toEqual([10, 4]);
  });

  it("reads nothing before a handler is set and resume is called", async () => {
    const [client, server] = await socketPair();
    const right = createSocketChannel(server);
    const left = channelOf(client);
    left.channel.write(Buffer.from("early"));
    right.resume();
    await new Promise((resolve) => setImmediate(resolve));
    expect(right.bytesRead).toBe(0);
    const recorder = new Recorder();
    right.setHandler(recorder);
    left.channel.end();
    right.resume();
    await recorder.ended.promise;
    expect(recorder.bytes).toBe(5);
  });

  it.each([{ highWaterMark: 0 }, { highWaterMark: undefined }])(
    "keeps every byte through three relays and a slow reader (high-water mark $highWaterMark)",
    async ({ highWaterMark }) => {
      // source → hop 1 → hop 2 → hop 3 → sink; the hops read into the one shared buffer, and all writes stall at times.
      const size = 12 * 1024 * 1024;
      const [source, firstIn] = await socketPair();
      let previous = firstIn;
      for (let hop = 0; hop < 3; hop++) {
        const [out, next] = await socketPair();
        const options = highWaterMark === undefined ? {} : { highWaterMark };
        relay(createSocketChannel(previous, options), createSocketChannel(out, options));
        previous = next;
      }
      const sink = channelOf(previous);
      let reads = 0;
      const onData = sink.recorder.onData.bind(sink.recorder);
      sink.recorder.onData = (chunk) => {
        onData(chunk);
        if (++reads % 8 !== 0) return;
        sink.channel.pause();
        setTimeout(() => sink.channel.resume(), 1);
      };
      sink.channel.resume();
      const sent = createHash("sha256");
      const { channel, recorder } = channelOf(source);
      let scratch = Buffer.alloc(0);
      for (let written = 0, step = 1; written < size; step = (step * 7 + 3) % 200_003) {
        scratch = randomBytes(Math.min(1 + step, size - written));
        written += scratch.length;
        sent.update(scratch);
        const accepted = channel.write(scratch);
        scratch.fill(0); // borrowed: the channel must not look at it again
        if (!accepted) await recorder.drained.promise;
      }
      channel.end();
      await sink.recorder.ended.promise;
      expect(sink.recorder.bytes).toBe(size);
      expect(sink.recorder.hash.digest("hex")).toBe(sent.digest("hex"));
    },
    20_000,
  );

  it("keeps streams apart when many sockets share the read buffer and some writes stall", async () => {
    const flows = await Promise.all(
      Array.from({ length: 4 }, async (_, index) => {
        const [source, relayIn] = await socketPair();
        const [relayOut, sinkSocket] = await socketPair();
        relay(createSocketChannel(relayIn), createSocketChannel(relayOut));
        const sink = channelOf(sinkSocket);
        const content = Buffer.alloc(16 * 1024 * 1024, index + 1);
        const { channel } = channelOf(source);
        channel.write(content);
        channel.end();
        return { sink, expected: createHash("sha256").update(content).digest("hex") };
      }),
    );
    await new Promise((resolve) => setImmediate(resolve));
    for (const { sink } of flows) sink.channel.resume();
    for (const { sink, expected } of flows) {
      await sink.recorder.ended.promise;
      expect(sink.recorder.hash.digest("hex")).toBe(expected);
    }
  });

  it("holds bytes for a reader that stopped, says so, and drains", async () => {
    const before = bufferPoolStats().bytesInUse;
    const [client, server] = await socketPair();
    const { channel, recorder } = channelOf(client);
    const sink = channelOf(server);
    const chunk = Buffer.alloc(64 * 1024, 7);
    let writes = 0;
    while (channel.write(chunk)) writes++;
    expect(channel.bufferedBytes).toBeGreaterThan(128 * 1024);
    expect(channel.bufferedBytes).toBeLessThanOrEqual(192 * 1024);
    expect(bufferPoolStats().bytesInUse - before).toBeLessThanOrEqual(512 * 1024);
    const drained = recorder.drained.promise;
    sink.channel.resume();
    await drained;
    expect(channel.bufferedBytes).toBe(0);
    expect(bufferPoolStats().bytesInUse).toBe(before);
    channel.end();
    await sink.recorder.ended.promise;
    expect(sink.recorder.bytes).toBe((writes + 1) * chunk.length);
    expect(recorder.events).toEqual(["drain"]);
  });

  it("sends what waits before the end of the stream", async () => {
    const [client, server] = await socketPair();
    const { channel } = channelOf(client);
    const sink = channelOf(server);
    channel.write(Buffer.alloc(20 * 1024 * 1024, 1));
    expect(channel.bufferedBytes).toBeGreaterThan(0);
    channel.end();
    sink.channel.resume();
    await sink.recorder.ended.promise;
    expect(sink.recorder.bytes).toBe(20 * 1024 * 1024);
  });

  it("closes when everything is with the kernel, where it need not wait for the peer's FIN", async () => {
    const [client, server] = await socketPair();
    const channel = new SocketChannel(client, { highWaterMark: defaultHighWaterMark, gathers: false });
    const recorder = new Recorder();
    channel.setHandler(recorder);
    const sink = channelOf(server);
    channel.write(Buffer.alloc(20 * 1024 * 1024, 1));
    channel.endAndClose();
    expect(channel.closed).toBe(false);
    sink.channel.resume();
    expect(await recorder.closed.promise).toBeUndefined();
    await sink.recorder.ended.promise;
    expect(sink.recorder.bytes).toBe(20 * 1024 * 1024);
  });

  it("resets the connection on destroy, and closes once with the given error", async () => {
    const [client, server] = await socketPair();
    const left = channelOf(client);
    const right = channelOf(server);
    right.channel.resume();
    const reason = new Error("policy changed");
    left.channel.destroy(reason);
    left.channel.destroy(new Error("second"));
    expect(left.channel.closed).toBe(true);
    expect(left.recorder.events).toEqual([]); // never from inside the call
    expect(await left.recorder.closed.promise).toBe(reason);
    expect(await right.recorder.closed.promise).toMatchObject({ code: "ECONNRESET" });
    expect(left.recorder.events).toEqual(["close"]);
    expect(right.recorder.events).toEqual(["close"]);
  });

  it.each(["while bytes wait", "right after end", "while bytes wait after end"])(
    "frees its buffers and never looks finished to the peer when destroyed %s",
    async (moment) => {
      const before = bufferPoolStats().bytesInUse;
      const [client, server] = await socketPair();
      const left = channelOf(client);
      const right = channelOf(server);
      if (moment !== "right after end") left.channel.write(Buffer.alloc(20 * 1024 * 1024));
      else left.channel.write(Buffer.from("whole"));
      if (moment !== "while bytes wait") left.channel.end();
      left.channel.destroy();
      expect(await left.recorder.closed.promise).toBeUndefined();
      expect(bufferPoolStats().bytesInUse).toBe(before);
      right.channel.resume();
      if (moment === "right after end") {
        await right.recorder.ended.promise;
        expect(right.recorder.bytes).toBe(5);
      } else {
        expect(await right.recorder.closed.promise).toMatchObject({ code: "ECONNRESET" });
        expect(right.recorder.events).toEqual(["close"]);
      }
    },
  );

  it("reports a write to a peer that is gone as onClose, not by throwing", async () => {
    const [client, server] = await socketPair();
    const left = channelOf(client);
    server.resetAndDestroy();
    await once(server, "close");
    while (!left.channel.closed) {
      left.channel.write(Buffer.from("anyone?"));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(["ECONNRESET", "EPIPE"]).toContain(((await left.recorder.closed.promise) as NodeJS.ErrnoException).code);
    expect(left.channel.write(Buffer.from("x"))).toBe(false);
  });

  it("destroys the channel when a handler throws", async () => {
    const [client, server] = await socketPair();
    const left = channelOf(client);
    const right = channelOf(server);
    right.recorder.onData = () => {
      throw new Error("parser failed");
    };
    right.channel.resume();
    left.channel.write(Buffer.from("x"));
    expect(await right.recorder.closed.promise).toMatchObject({ message: "parser failed" });
  });

  it("refuses writes after end", async () => {
    const [client] = await socketPair();
    const { channel, recorder } = channelOf(client);
    channel.end();
    expect(channel.write(Buffer.from("late"))).toBe(false);
    expect(await recorder.closed.promise).toMatchObject({ code: "WRITE_AFTER_END" });
  });

  it("stops inside a read when the handler pauses, and goes on without loss", async () => {
    const [client, server] = await socketPair();
    const left = channelOf(client);
    const right = channelOf(server);
    let calls = 0;
    const onData = right.recorder.onData.bind(right.recorder);
    right.recorder.onData = (chunk) => {
      calls++;
      onData(chunk);
      right.channel.pause();
    };
    left.channel.write(Buffer.alloc(1024 * 1024, 3));
    left.channel.end();
    right.channel.resume();
    while (right.recorder.bytes < 1024 * 1024) {
      const seen = calls;
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
      expect(calls - seen).toBeLessThanOrEqual(1);
      if (calls > seen) right.channel.resume();
      else if (calls === 0) continue;
      else right.channel.resume();
    }
    right.channel.resume();
    await right.recorder.ended.promise;
    expect(right.recorder.bytes).toBe(1024 * 1024);
  });

  it("tells a handler that is set after the close", async () => {
    const [client] = await socketPair();
    const channel = createSocketChannel(client);
    const reason = new Error("gone before anybody looked");
    const closed = once(client, "close");
    channel.destroy(reason);
    await closed;
    const recorder = new Recorder();
    channel.setHandler(recorder);
    expect(recorder.events).toEqual([]);
    expect(await recorder.closed.promise).toBe(reason);
  });

  it("takes over a socket that was made elsewhere", async () => {
    const listener = await listen((socket) => {
      const echo = channelOf(socket);
      echo.recorder.onData = (chunk) => void echo.channel.write(chunk);
      echo.recorder.onEnd = () => echo.channel.end();
      echo.channel.resume();
    });
    const foreign = net.connect({ port: listener.address.port, host: "127.0.0.1", allowHalfOpen: true });
    foreign.pause();
    await once(foreign, "connect");
    const { channel, recorder } = channelOf(foreign);
    channel.resume();
    channel.write(Buffer.from("hello"));
    channel.end();
    await recorder.closed.promise;
    expect(recorder.bytes).toBe(5);
  });

  it("refuses a socket that has an owner, is closed, or is not connected", async () => {
    const [client, server] = await socketPair();
    createSocketChannel(client);
    expect(() => createSocketChannel(client)).toThrow(expect.objectContaining({ code: "SOCKET_NOT_RAW" }));
    server.destroy();
    expect(() => createSocketChannel(server)).toThrow(expect.objectContaining({ code: "SOCKET_NOT_RAW" }));
    expect(() => createSocketChannel(new net.Socket())).toThrow(expect.objectContaining({ code: "SOCKET_NOT_RAW" }));
  });
});

describe("SocketChannel in full turns", () => {
  /** As if many sockets had been read lately. */
  async function fillTurns(): Promise<void> {
    for (let i = 0; i < 200; i++) noteRead();
    await nextTurn();
    expect(turnsAreFull()).toBe(true);
  }

  async function gatheringPair(highWaterMark?: number) {
    const [client, server] = await socketPair();
    const chunks: number[] = [];
    const received = createSocketChannel(server);
    const recorder = new Recorder();
    const onData = recorder.onData.bind(recorder);
    recorder.onData = (chunk) => {
      chunks.push(chunk.length);
      onData(chunk);
    };
    received.setHandler(recorder);
    received.resume();
    await fillTurns();
    return { ...channelOf(client, highWaterMark), received, sink: recorder, chunks };
  }

  it("sends the small writes of a turn together, at its end", async () => {
    const { channel, sink, chunks } = await gatheringPair();
    expect(channel.write(Buffer.from("head"))).toBe(true);
    expect(channel.write(Buffer.from("body"))).toBe(true);
    expect(channel.bufferedBytes).toBe(8);
    await nextTurn();
    expect(channel.bufferedBytes).toBe(0);
    channel.end();
    await sink.ended.promise;
    expect(chunks).toEqual([8]);
  });

  it("sends what it gathered before larger writes, in order", async () => {
    const { channel, sink } = await gatheringPair();
    const parts = [10, 16_000, 500, 100_000, 7].map((size) => randomBytes(size));
    for (const part of parts) channel.write(part);
    channel.end();
    await sink.ended.promise;
    expect(sink.hash.digest("hex")).toBe(createHash("sha256").update(Buffer.concat(parts)).digest("hex"));
  });

  it.each<["end" | "destroy"]>([["end"], ["destroy"]])("sends what it gathered at once on %s", async (how) => {
    const { channel } = await gatheringPair();
    channel.write(Buffer.from("last words"));
    channel[how]();
    expect(channel.bufferedBytes).toBe(0);
  });

  it("lets nothing wait where anything that waits stops the source", async () => {
    const { channel } = await gatheringPair(0);
    expect(channel.write(Buffer.from("at once"))).toBe(true);
    expect(channel.bufferedBytes).toBe(0);
  });

  it("keeps what the kernel does not take at the end of the turn", async () => {
    const { channel, received, sink } = await gatheringPair();
    received.pause();
    const hash = createHash("sha256");
    let written = 0;
    for (let waits = false; !waits; waits = channel.bufferedBytes > 0) {
      const part = randomBytes(16_000);
      hash.update(part);
      written += part.length;
      channel.write(part);
      await nextTurn();
    }
    channel.end();
    received.resume();
    await sink.ended.promise;
    expect(sink.bytes).toBe(written);
    expect(sink.hash.digest("hex")).toBe(hash.digest("hex"));
  });
});
