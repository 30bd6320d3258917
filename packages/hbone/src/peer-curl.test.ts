import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { createTestFolder, findProgram, pemFiles } from "@hairpin/testkit";
import { createTcpTransport, sha256 } from "@hairpin/testkit/tunnel-compliance";
import { connectTcp, createSocketChannel } from "@hairpin/wire";
import { relay } from "./relay.ts";
import { startEngineServer } from "./test-support/engine-server.ts";
import { clientIdentity, startHboneAcceptor, testAuthority } from "./test-support/hbone-proxy.ts";
import { tlsEngines } from "./test-support/tls-engines.ts";

const run = promisify(execFile);
const curl = findProgram("curl");

/** Why curl cannot do what a case needs, or undefined. */
async function findObstacle(oldest: readonly [number, number]): Promise<string | undefined> {
  if (curl === undefined) return "curl is not installed";
  const { stdout } = await run(curl, ["--version"]);
  const [, major = 0, minor = 0] = (/^curl (\d+)\.(\d+)/.exec(stdout) ?? []).map(Number);
  if (!stdout.includes("HTTP2")) return "this curl was built without HTTP/2";
  const isOldEnough = major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
  return isOldEnough ? undefined : `curl ${major}.${minor} is too old: ${oldest.join(".")} is needed`;
}

async function itWithCurl(oldest: readonly [number, number], name: string, test: (curl: string) => Promise<void>) {
  const obstacle = await findObstacle(oldest);
  if (obstacle !== undefined) it.skip(`${name} (${obstacle})`);
  else it(name, { timeout: 60_000 }, () => test(curl ?? ""));
}

describe("curl over HTTP/2 with prior knowledge", async () => {
  await itWithCurl([7, 50], "gets every byte that our server sends", async (curl) => {
    const body = randomBytes(8 << 20);
    await using server = await startEngineServer(body);
    const args = ["--silent", "--fail", "--http2-prior-knowledge", `http://127.0.0.1:${server.port}/`];
    const { stdout } = await run(curl, args, { encoding: "buffer", maxBuffer: 16 << 20 });
    expect(sha256(stdout)).toBe(sha256(body));
  });

  await itWithCurl([7, 50], "uploads every byte to our server", async (curl) => {
    await using folder = await createTestFolder();
    const body = randomBytes(8 << 20);
    await writeFile(join(folder.path, "body"), body);
    await using server = await startEngineServer(new Uint8Array());
    const data = ["--data-binary", `@${folder.path}/body`, "--header", "expect:"];
    const args = ["--silent", "--fail", "--http2-prior-knowledge", ...data, `http://127.0.0.1:${server.port}/`];
    const { stdout } = await run(curl, args);
    expect(stdout).toBe(sha256(body));
  });

  // Before 8.0 curl fails to use such a connection twice, whatever the server.
  await itWithCurl([8, 0], "gets ten bodies over one session", async (curl) => {
    const body = randomBytes(100_000);
    await using server = await startEngineServer(body);
    const args = ["--silent", "--fail", "--http2-prior-knowledge", `http://127.0.0.1:${server.port}/[1-10]`];
    const { stdout } = await run(curl, args, { encoding: "buffer", maxBuffer: 16 << 20 });
    expect(sha256(stdout)).toBe(sha256(Buffer.concat(Array.from({ length: 10 }, () => body))));
    expect(server.sessions).toBe(1);
  });
});

describe.each(tlsEngines)("curl with our HBONE listener as its HTTP/2 proxy, on $name", async (tls) => {
  await itWithCurl([8, 1], "gets every byte through the tunnel", async (curl) => {
    const body = randomBytes(1 << 20);
    await using server = await startEngineServer(body);
    await using transport = createTcpTransport(tls);
    await using acceptor = await startHboneAcceptor(transport);
    await using folder = await createTestFolder(pemFiles(testAuthority.material(clientIdentity)));
    const authority = `127.0.0.1:${server.port}`;
    void acceptor.arrival(authority).then(async (pending) => {
      const socket = await connectTcp({ ip: "127.0.0.1", port: server.port, timeoutMs: 5000 });
      await relay(pending.accept(), createSocketChannel(socket));
    });
    const proxy = [
      "--proxytunnel",
      "--proxy-http2",
      "--proxy-insecure",
      "--proxy",
      `https://127.0.0.1:${acceptor.address.port}`,
    ];
    const identity = ["--proxy-cert", `${folder.path}/certificate.pem`, "--proxy-key", `${folder.path}/key.pem`];
    const args = ["--silent", "--fail", "--http2-prior-knowledge", ...proxy, ...identity, `http://${authority}/`];
    const { stdout } = await run(curl, args, { encoding: "buffer", maxBuffer: 16 << 20 });
    expect(sha256(stdout)).toBe(sha256(body));
  });
});
