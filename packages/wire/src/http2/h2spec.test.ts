import { execFile } from "node:child_process";
import { afterEach, describe, expect, it } from "vitest";
import { createSocketChannel } from "../socket.ts";
import { listenTcp, type TcpListener } from "../tcp-listener.ts";
import { headerList } from "./header-field.ts";
import { createHttp2Session } from "./session.ts";
import type { Http2Stream } from "./types.ts";

/** The program h2spec 2.6, as an outside judge; docs/security.md tells where to get it. */
const h2spec = process.env["H2SPEC_BIN"] ?? "";

let listener: TcpListener | undefined;
afterEach(() => listener?.close());

/** 200 with a body, after the request was read. */
function answer(stream: Http2Stream): void {
  stream.setHandler({
    onData() {},
    onEnd() {
      stream.respond(
        headerList([
          [":status", "200"],
          ["content-type", "text/plain"],
        ]),
      );
      stream.write(Buffer.from("hello"));
      stream.end();
    },
    onDrain() {},
    onClose() {},
  });
  stream.resume();
}

describe("our HTTP/2 engine under h2spec (set H2SPEC_BIN to its path)", () => {
  it.skipIf(h2spec === "")("passes every strict case", { timeout: 300_000 }, async () => {
    listener = await listenTcp({
      host: "127.0.0.1",
      port: 0,
      onConnection: (socket) =>
        void createHttp2Session({
          role: "server",
          channel: createSocketChannel(socket),
          handler: { onStream: answer, onClose() {} },
        }),
    });
    const { port } = listener.address;
    const report = await new Promise<string>((resolve) => {
      const options = ["-h", "127.0.0.1", "-p", String(port), "--strict", "-o", "2"];
      execFile(h2spec, options, { maxBuffer: 16 * 1024 * 1024 }, (_error, stdout) => resolve(stdout));
    });
    const failures = report.slice(report.indexOf("Failures:"));
    expect(report, failures).toMatch(/147 tests, 147 passed, 0 skipped, 0 failed/);
  });
});
