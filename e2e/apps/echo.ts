// The server of every scenario, in one small process: HTTP/1.1 on 8080 says what reached it, and sends /bytes/N; 9000 repeats lines behind the
// pod's name; 9001 speaks first, then does the same. GRPC=1 adds /greeter.Greeter/Hello on 9090. VERSION is told in answers.
import { createServer as createHttpServer } from "node:http";
import { createServer as createTcpServer, type Socket } from "node:net";
import { hostname } from "node:os";
import { Readable } from "node:stream";
import { startGreeter } from "./greeter.ts";

const pod = hostname();
const version = process.env["VERSION"] ?? "";

/** `/bytes/N`: N bytes, no two blocks alike, at the reader's pace. */
function* blocks(size: number): Generator<Buffer> {
  for (let sent = 0; sent < size; sent += blockBytes) {
    yield Buffer.alloc(Math.min(blockBytes, size - sent), `${sent} `);
  }
}
const blockBytes = 65_536;

const http = createHttpServer((request, response) => {
  const size = /^\/bytes\/(\d+)$/.exec(request.url ?? "")?.[1];
  if (size !== undefined) {
    Readable.from(blocks(Number(size))).pipe(response);
    return;
  }
  let bodyBytes = 0;
  request.on("data", (chunk: Buffer) => (bodyBytes += chunk.length));
  request.on("end", () => {
    const { method, url: path, headers } = request;
    const caller = request.socket.remoteAddress?.replace("::ffff:", "");
    response.writeHead(200, { "content-type": "application/json", "x-served-by": pod });
    response.end(`${JSON.stringify({ pod, version, method, path, caller, headers, bodyBytes })}\n`);
  });
});

function repeatLines(socket: Socket): void {
  let text = "";
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    text += chunk;
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) socket.write(`${pod} ${line}\n`);
  });
  socket.on("end", () => socket.end());
  socket.on("error", () => socket.destroy());
}

http.listen(8080);
createTcpServer({ allowHalfOpen: true }, repeatLines).listen(9000);
createTcpServer({ allowHalfOpen: true }, (socket) => {
  socket.write(`hello from ${pod}\n`);
  repeatLines(socket);
}).listen(9001);
if (process.env["GRPC"] === "1") await startGreeter(9090, pod);
process.on("SIGTERM", () => process.exit(0));
