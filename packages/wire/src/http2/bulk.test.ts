import { createHash, randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { connectTcp } from "../connect-tcp.ts";
import { createSocketChannel } from "../socket.ts";
import { listenTcp } from "../tcp-listener.ts";
import { createHttp2Session } from "./session.ts";
import type { Http2Stream } from "./types.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function socketPair(): Promise<[Socket, Socket]> {
  const accepted = Promise.withResolvers<Socket>();
  const listener = await listenTcp({ host: "127.0.0.1", port: 0, onConnection: accepted.resolve });
  const client = await connectTcp({ ip: "127.0.0.1", port: listener.address.port, timeoutMs: 2000 });
  const server = await accepted.promise;
  cleanups.push(
    () => listener.close(),
    () => client.destroy(),
    () => server.destroy(),
  );
  return [client, server];
}

const head = [
  { name: ":method", value: "POST" },
  { name: ":scheme", value: "http" },
  { name: ":authority", value: "sink" },
  { name: ":path", value: "/" },
];
const options = {
  initialWindowSize: 1_000_000,
  connectionWindowSize: 2_000_000,
  maxFrameSize: 1024 * 1024,
  maxDataFrameBytes: 4096,
  maxSendBufferBytes: 0,
};

it("keeps every byte of sockets' reads that go out from where they lie, through full windows and small reads", async () => {
  const [dialled, taken] = await socketPair();
  const hashes = Array.from({ length: 3 }, () => createHash("sha256"));
  const ended: Promise<void>[] = [];
  createHttp2Session({
    role: "server",
    channel: createSocketChannel(taken),
    options,
    handler: {
      onStream: (stream) => {
        const index = ended.length;
        const end = Promise.withResolvers<void>();
        ended.push(end.promise);
        stream.setHandler({
          onData: (chunk) => hashes[index]?.update(chunk),
          onEnd: end.resolve,
          onDrain: () => {},
          onClose: (error) => error && end.reject(error),
        });
        stream.resume();
      },
      onClose: () => {},
    },
  });
  const session = createHttp2Session({
    role: "client",
    channel: createSocketChannel(dialled),
    options,
    handler: { onClose: () => {} },
  });
  const sent = await Promise.all(
    hashes.map(async (_, index) => {
      const [application, captured] = await socketPair();
      const bytes = randomBytes(4_000_000 + index);
      pipe(captured, session.request(head));
      application.end(bytes);
      return createHash("sha256").update(bytes).digest("hex");
    }),
  );
  await expect.poll(() => ended.length).toBe(3);
  await Promise.all(ended);
  expect(hashes.map((hash) => hash.digest("hex"))).toEqual(sent);
  // Frames that are put together from copies have 4 KiB at most.
  const { wireBytesSent, dataBytesSent } = session.stats;
  const frames = (wireBytesSent - dataBytesSent) / 9;
  expect(dataBytesSent / frames).toBeGreaterThan(4096);
});

function pipe(socket: Socket, stream: Http2Stream): void {
  const channel = createSocketChannel(socket);
  stream.setHandler({ onData: () => {}, onEnd: () => {}, onDrain: () => channel.resume(), onClose: () => {} });
  channel.setHandler({
    onData: (chunk) => void (stream.write(chunk) || channel.pause()),
    onEnd: () => stream.end(),
    onDrain: () => {},
    onClose: () => {},
  });
  channel.resume();
}
