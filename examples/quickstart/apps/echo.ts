// A small HTTP server that says what reached it: `node echo.ts` with PORT (8080), VERSION and the pod's name in HOSTNAME.
import { createServer } from "node:http";
import { hostname } from "node:os";

const port = Number(process.env["PORT"] ?? 8080);
const version = process.env["VERSION"] ?? "";

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const seen = {
      pod: hostname(),
      version,
      method: request.method,
      path: request.url,
      caller: request.socket.remoteAddress?.replace("::ffff:", ""),
      headers: request.headers,
      bodyBytes: Buffer.concat(chunks).length,
    };
    response.writeHead(200, { "content-type": "application/json" });
    response.end(`${JSON.stringify(seen)}\n`);
  });
});

server.listen(port, () => console.log(`echo ${version} listening on ${port}`));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
