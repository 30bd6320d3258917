// Messages after the handshake that node:tls cannot send: openssl's own programs send them.
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import type { ByteChannelHandler } from "../byte-channel.ts";
import { connectTcp } from "../connect-tcp.ts";
import { listenTcp } from "../tcp-listener.ts";
import type { SecureChannel, TlsEngine } from "./engine.ts";
import { createLibsslEngine } from "./libssl.ts";
import { createNodeTlsEngine } from "./node-tls.ts";
import { materialOf } from "./test-certificates.ts";
import {
  clientLeaf,
  intermediate,
  root,
  serverLeaf,
  serverMaterial,
  timeoutMs,
  turn,
} from "./test-support/tls-fixture.ts";

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
const engines = [createLibsslEngine(), createNodeTlsEngine()];

/** Runs `openssl` with a certificate; ended with the test. */
function runOpenssl(...args: string[]): Output {
  const folder = mkdtempSync(join(tmpdir(), "hairpin-tls-"));
  const files = { cert: serverMaterial.cert, key: serverMaterial.key, CAfile: root.pem };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const paths = Object.keys(files).flatMap((name) => [`-${name}`, join(folder, name)]);
  const program = spawn("openssl", [...args, ...paths, "-alpn", "h2"]);
  onTestFinished(() => {
    program.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  });
  return new Output(program);
}

/** What a program has said so far. */
class Output {
  readonly program: ChildProcessWithoutNullStreams;
  #text = "";
  #onText: () => void = () => undefined;

  constructor(program: ChildProcessWithoutNullStreams) {
    this.program = program;
    program.stdin.on("error", () => undefined);
    for (const stream of [program.stdout, program.stderr])
      stream.on("data", (chunk: Buffer) => {
        this.#text += chunk.toString("latin1");
        this.#onText();
      });
  }

  /** The first match in what it has said since the last one. */
  async whenMatches(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#text);
      if (match !== null) {
        this.#text = this.#text.slice(match.index + match[0].length);
        return match;
      }
      await new Promise<void>((resolve) => {
        this.#onText = resolve;
      });
    }
  }
}

/** Collects what a channel receives. */
class Received implements ByteChannelHandler {
  readonly closed: PromiseWithResolvers<Error | undefined> = Promise.withResolvers();
  #text = "";
  #onText: () => void = () => undefined;

  onData(chunk: Uint8Array): void {
    this.#text += Buffer.from(chunk).toString("latin1");
    this.#onText();
  }
  onEnd(): void {}
  onDrain(): void {}
  onClose(error: Error | undefined): void {
    this.closed.resolve(error);
  }

  async when(text: string): Promise<void> {
    while (!this.#text.includes(text))
      await new Promise<void>((resolve) => {
        this.#onText = resolve;
      });
  }
}

function collect(channel: SecureChannel): Received {
  const received = new Received();
  channel.setHandler(received);
  channel.resume();
  onTestFinished(() => channel.destroy());
  return received;
}

interface Connection {
  readonly channel: SecureChannel;
  readonly peer: Output;
  /** Only to see that bytes come. */
  readonly socket: net.Socket;
}

async function acceptOpenssl(engine: TlsEngine): Promise<Connection> {
  const accepted = Promise.withResolvers<net.Socket>();
  const onConnection = (socket: net.Socket): void => accepted.resolve(socket);
  const listener = await listenTcp({ host: "127.0.0.1", port: 0, onConnection });
  const peer = runOpenssl("s_client", "-connect", `127.0.0.1:${listener.address.port}`, "-tls1_3");
  const context = engine.createContext(materialOf(serverLeaf, [root]));
  const socket = await accepted.promise;
  const channel = await engine.accept(socket, context, { timeoutMs });
  await listener.close();
  return { channel, peer, socket };
}

async function connectOpenssl(engine: TlsEngine, ...args: string[]): Promise<Connection> {
  const peer = runOpenssl("s_server", "-accept", "127.0.0.1:0", "-Verify", "2", ...args);
  const [, port] = await peer.whenMatches(/ACCEPT 127\.0\.0\.1:(\d+)/);
  const socket = await connectTcp({ ip: "127.0.0.1", port: Number(port), timeoutMs });
  const context = engine.createContext(materialOf(clientLeaf, [root], [intermediate]));
  return { channel: await engine.connect(socket, context, { timeoutMs }), peer, socket };
}

describe.skipIf(!hasOpenssl)("a peer that changes its keys", () => {
  describe.each(engines)("$name", (engine) => {
    it.each([
      { role: "server", open: acceptOpenssl },
      { role: "client", open: connectOpenssl },
    ])("as $role follows it, answers, and loses no byte", async ({ open }) => {
      const { channel, peer, socket } = await open(engine);
      const received = collect(channel);
      const exchange = async (round: string): Promise<void> => {
        peer.program.stdin.write(`hello ${round}\n`);
        await received.when(`hello ${round}\n`);
        channel.write(Buffer.from(`answer ${round}\n`));
        await peer.whenMatches(new RegExp(`answer ${round}\n`));
      };
      await exchange("before");
      // k: a new key of the peer; K: it asks for one of ours too.
      for (const command of ["k", "K", "K", "k"]) {
        const before = socket.bytesRead;
        peer.program.stdin.write(`${command}\n`);
        while (socket.bytesRead === before) await turn();
        await exchange(`after ${command}`);
      }
    });
  });
});

describe.skipIf(!hasOpenssl)("libssl", () => {
  const engine = createLibsslEngine();

  it("takes the tickets of a server and never uses them", async () => {
    const { channel, peer } = await connectOpenssl(engine, "-num_tickets", "4");
    const received = collect(channel);
    peer.program.stdin.write("hello\n");
    await received.when("hello\n");
  });

  it("cuts a peer that sends key updates without end and no data", async () => {
    const { channel, peer } = await acceptOpenssl(engine);
    for (let count = 0; count < 110; count++) {
      peer.program.stdin.write("K\n");
      await peer.whenMatches(/KEYUPDATE/);
    }
    expect(await collect(channel).closed.promise).toMatchObject({
      code: "TLS_PROTOCOL_ERROR",
      message: expect.stringMatching(/messages without data/) as unknown,
    });
  }, 20_000);
});
