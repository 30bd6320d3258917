// A program: opens and closes as many libssl connections as its argument says, both ends in this process, and prints what is
// left of them as JSON. Run it with --expose-gc, and with a fixed nursery: V8's own growth is not what is measured.
import { liveOpensslObjects } from "@hairpin/native";
import type { ByteChannel } from "../../byte-channel.ts";
import { connectTcp } from "../../connect-tcp.ts";
import { listenTcp } from "../../tcp-listener.ts";
import { createLibsslEngine } from "../libssl.ts";
import { materialOf } from "../test-certificates.ts";
import { clientLeaf, intermediate, root, serverLeaf } from "./tls-fixture.ts";

const total = Number(process.argv[2]);
const warmUp = 2000;
const lanes = 8;
const timeoutMs = 30_000;
const mebibyte = 1024 * 1024;

const engine = createLibsslEngine();
const clientContext = engine.createContext(materialOf(clientLeaf, [root], [intermediate]));
const serverContext = engine.createContext(materialOf(serverLeaf, [root]));
const onConnection = (socket: Parameters<typeof engine.accept>[0]): void => {
  void engine.accept(socket, serverContext, { timeoutMs }).then(echo);
};
const listener = await listenTcp({ host: "127.0.0.1", port: 0, onConnection });

function echo(channel: ByteChannel): void {
  channel.setHandler({
    onData: (chunk) => void channel.write(chunk),
    onEnd: () => channel.end(),
    onDrain: () => undefined,
    onClose: () => undefined,
  });
  channel.resume();
}

/** Resolves when the connection has echoed and closed well. */
async function openAndClose(): Promise<void> {
  const socket = await connectTcp({ ip: "127.0.0.1", port: listener.address.port, timeoutMs });
  const channel = await engine.connect(socket, clientContext, { timeoutMs });
  await new Promise<void>((resolve, reject) => {
    channel.setHandler({
      onData: () => undefined,
      onEnd: () => undefined,
      onDrain: () => undefined,
      onClose: (error) => (error === undefined && channel.bytesRead === 100 ? resolve() : reject(error)),
    });
    channel.resume();
    channel.write(Buffer.alloc(100));
    channel.end();
  });
}

async function run(count: number): Promise<void> {
  const lane = async (): Promise<void> => {
    for (let index = 0; index < count / lanes; index++) await openAndClose();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

function residentMebibytes(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().rss / mebibyte;
}

await run(warmUp);
const before = residentMebibytes();
await run(total - warmUp);
const after = residentMebibytes();
await listener.close();
clientContext.close();
serverContext.close();
process.stdout.write(JSON.stringify({ before, after, live: liveOpensslObjects() }));
