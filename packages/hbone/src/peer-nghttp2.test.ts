import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { eventually, findFreePort, findProgram, startForeignProgram } from "@hairpin/testkit";
import { ChannelProbe, createTcpTransport, sha256, type TunnelPair } from "@hairpin/testkit/tunnel-compliance";
import { connectTcp, createHttp2Session, createSocketChannel, findHeader, headerList } from "@hairpin/wire";
import { startEngineServer } from "./test-support/engine-server.ts";
import { createHboneDialler, startHboneAcceptor } from "./test-support/hbone-proxy.ts";
import { startNghttpx } from "./test-support/nghttpx.ts";
import { createProxyPair } from "./test-support/proxy-pair.ts";
import { tlsEngines } from "./test-support/tls-engines.ts";

const run = promisify(execFile);
const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const disposable of disposables.splice(0)) await disposable[Symbol.asyncDispose]();
});

function owned<T extends AsyncDisposable>(disposable: T): T {
  disposables.push(disposable);
  return disposable;
}

/** `it` with the program's path, or a skipped test that says how to get it. */
function itWith(program: string, debianPackage: string, name: string, test: (path: string) => Promise<void>): void {
  const path = findProgram(program);
  if (path === undefined) it.skip(`${name} (${program} is not installed: apt-get install ${debianPackage})`);
  else it(name, { timeout: 60_000 }, () => test(path));
}

describe("our HTTP/2 server", () => {
  itWith(
    "h2load",
    "nghttp2-client",
    "answers 5,000 requests of h2load, 100 at once on each of 4 sessions",
    async (h2load) => {
      const body = randomBytes(3000);
      const server = owned(await startEngineServer(body));
      const url = `http://127.0.0.1:${server.port}/`;
      const { stdout } = await run(h2load, ["-n", "5000", "-c", "4", "-m", "100", url]);
      expect(stdout).toContain("5000 succeeded, 0 failed, 0 errored, 0 timeout");
      expect(stdout).toContain(`(${5000 * body.length}) data`);
      expect(server.sessions).toBe(4);
    },
  );

  itWith("h2load", "nghttp2-client", "serves h2load with windows of a few bytes", async (h2load) => {
    const server = owned(await startEngineServer(randomBytes(20_000)));
    // 2^10 - 1 bytes a stream, 2^11 - 1 a connection.
    const windows = ["-w", "10", "-W", "11"];
    const { stdout } = await run(h2load, [
      "-n",
      "200",
      "-c",
      "2",
      "-m",
      "20",
      ...windows,
      `http://127.0.0.1:${server.port}/`,
    ]);
    expect(stdout).toContain("200 succeeded, 0 failed, 0 errored, 0 timeout");
  });

  itWith(
    "nghttp",
    "nghttp2-client",
    "sends nghttp every byte, with padding and priorities from its side",
    async (nghttp) => {
      const body = randomBytes(500_000);
      const server = owned(await startEngineServer(body));
      const args = ["--no-dep", "--padding=100", `http://127.0.0.1:${server.port}/`];
      const { stdout } = await run(nghttp, args, { encoding: "buffer", maxBuffer: 8 << 20 });
      expect(sha256(stdout)).toBe(sha256(body));
    },
  );
});

describe("our HTTP/2 client", () => {
  itWith("nghttpd", "nghttp2-server", "reads every byte of nghttpd", async (nghttpd) => {
    const body = randomBytes(300_000).toString("base64");
    const port = await findFreePort();
    owned(
      await startForeignProgram(nghttpd, { "body.txt": body }, (folder) => ({
        args: ["--no-tls", "--address=127.0.0.1", `--htdocs=${folder}`, String(port)],
      })),
    );
    const socket = await eventually(() => connectTcp({ ip: "127.0.0.1", port, timeoutMs: 1000 }));
    const session = createHttp2Session({
      role: "client",
      channel: createSocketChannel(socket),
      handler: { onClose: () => {} },
    });
    const request = { ":method": "GET", ":scheme": "http", ":authority": "a.example", ":path": "/body.txt" };
    const streams = Array.from({ length: 20 }, () => session.request(headerList(request), { endStream: true }));
    const probes = streams.map((stream) => new ChannelProbe(stream));
    for (const [i, probe] of probes.entries()) {
      await probe.whenEnded;
      expect(findHeader(streams[i]?.headers ?? [], ":status")).toBe("200");
      expect(probe.digest()).toBe(sha256(Buffer.from(body)));
    }
    session.shutdown();
  });
});

// nghttpx asks on behalf of our dialer for a tunnel of our listener, so nghttp2 is at the other end of both. It does not carry the
// end of the dialling side (an upgraded connection has none for it) and makes an end of the accepting side's reset, so the compliance
// suite cannot run over it.
describe.each(tlsEngines)("a tunnel through nghttpx on $name", (tls) => {
  async function makePair(path: string): Promise<TunnelPair> {
    const transport = createTcpTransport(tls);
    const acceptor = await startHboneAcceptor(transport);
    const nghttpx = await startNghttpx(path, acceptor.address);
    const dialler = createHboneDialler(transport, nghttpx.address);
    return owned(createProxyPair(dialler, acceptor, transport.interposer, [nghttpx, transport]));
  }

  itWith(
    "nghttpx",
    "nghttp2-proxy",
    "carries every byte both ways, and the end of the accepting side",
    async (path) => {
      const ends = await (await makePair(path)).open();
      const dialled = new ChannelProbe(ends.dialled);
      const accepted = new ChannelProbe(ends.accepted);
      const bytes = [randomBytes(4 << 20), randomBytes(4 << 20)] as const;
      await Promise.all([dialled.send(bytes[0]), accepted.send(bytes[1])]);
      accepted.channel.end();
      await dialled.whenEnded;
      await eventually(() => expect(accepted.receivedBytes).toBe(bytes[0].length), { timeoutMs: 20_000 });
      expect([accepted.digest(), dialled.digest()]).toEqual(bytes.map(sha256));
    },
  );

  itWith("nghttpx", "nghttp2-proxy", "tells refusals, and resets of the dialling side", async (path) => {
    const pair = await makePair(path);
    expect(await pair.openRefused(503)).toBe(503);
    const ends = await pair.open();
    const dialled = new ChannelProbe(ends.dialled);
    const accepted = new ChannelProbe(ends.accepted);
    await dialled.send(randomBytes(100_000));
    await eventually(() => expect(accepted.receivedBytes).toBeGreaterThan(0));
    dialled.channel.destroy();
    expect(await accepted.whenClosed).toEqual({ ended: false, error: expect.any(Error) });
  });
});
