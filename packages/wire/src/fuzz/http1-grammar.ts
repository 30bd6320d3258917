import type { Random } from "./random.ts";

// Messages made of parts that are good, odd or wrong: the choices that two parsers may see differently.

const methods = [
  "GET",
  "POST",
  "HEAD",
  "PUT",
  "OPTIONS",
  "CONNECT",
  "DELETE",
  "TRACE",
  "PRI",
  "get",
  "M-SEARCH",
  "FOO",
];
const targets = [
  "/",
  "/a?b=c",
  "*",
  "http://a.example/",
  "http://a.example:80/x",
  "a.example:443",
  "//x",
  "/a b",
  "/%2e",
  "/#f",
  "/\u00e4",
];
const versions = [
  "HTTP/1.1",
  "HTTP/1.1",
  "HTTP/1.1",
  "HTTP/1.0",
  "HTTP/2.0",
  "HTTP/0.9",
  "http/1.1",
  "HTTP/1.1 ",
  "HTTP/1.10",
];
const statuses = [
  "200 OK",
  "200",
  "200 ",
  "204 No Content",
  "304 Not Modified",
  "100 Continue",
  "101 Switching",
  "103 Early",
  "404 N\u00e4",
  "099 x",
  "1000 x",
  "500\tx",
];
const lineEnds = ["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n"];
const hosts = [
  "Host: a.example",
  "Host: a.example:80",
  "host:a.example",
  "Host: b.example",
  "Host:",
  "Host: a b",
  "Host: a/b@c#d",
];
const framings = [
  ["Content-Length: 5"],
  ["content-length:5"],
  ["Content-Length: 5 "],
  ["Content-Length: +5"],
  ["Content-Length: 5, 5"],
  ["Content-Length: 05"],
  ["Content-Length: 5", "Content-Length: 5"],
  ["Content-Length: 5", "Content-Length: 6"],
  ["Content-Length: 99999999999999999999"],
  ["Transfer-Encoding: chunked"],
  ["Transfer-Encoding: gzip, chunked"],
  ["Transfer-Encoding: chunked, chunked"],
  ["Transfer-Encoding: identity"],
  ["Transfer-Encoding: xchunked"],
  ["Transfer-Encoding : chunked"],
  ["Transfer-Encoding:\tchunked"],
  ["Transfer-Encoding: chunked", "Content-Length: 5"],
  ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
  ["Transfer-Encoding: \u000bchunked"],
  ["TRANSFER_ENCODING: chunked"],
  [],
];
const others = [
  "Connection: close",
  "Connection: keep-alive",
  "Connection: upgrade",
  "Upgrade: websocket",
  "Expect: 100-continue",
  "Expect: x",
  "X-A: b",
  "X-A:  b  ",
  " folded",
  "\tfolded",
  "X A: b",
  "X-\u00e4: b",
  "X-B: \u00e4\u0080",
  "X-C: a\u0000b",
  ": empty",
  "NoColon",
  "Trailer: X-T",
  "Connection: close, X-A",
  "Keep-Alive: 5",
];
const bodies = [
  "hello",
  "",
  "5\r\nhello\r\n0\r\n\r\n",
  "5;x=y\r\nhello\r\n0\r\n\r\n",
  "05\r\nhello\r\n0\r\n\r\n",
  "5 \r\nhello\r\n0\r\n\r\n",
  "0x5\r\nhello\r\n0\r\n\r\n",
  "5\nhello\n0\n\n",
  "5\r\nhello0\r\n\r\n",
  "5\r\nhello\r\n0\r\nX-T: v\r\n\r\n",
  "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
  "ffffffffffffffffff\r\n",
  "-5\r\n",
  "5;\n\r\nhello\r\n0\r\n\r\n",
  "5\r\r\nhello\r\n0\r\n\r\n",
];

/** One to three messages, pipelined. */
export function generateHttp1(kind: "request" | "response", random: Random): Uint8Array {
  let text = random.chance(20) ? "\r\n" : "";
  for (let left = 1 + random.int(3); left > 0; left--) text += generateMessage(kind, random);
  return Buffer.from(text, "latin1");
}

function generateMessage(kind: "request" | "response", random: Random): string {
  const end = random.chance(4) ? random.pick(lineEnds) : "\r\n";
  const lines = [...random.pick(framings)];
  if (kind === "request" && !random.chance(12)) lines.unshift(random.pick(hosts));
  for (let left = random.int(3); left > 0; left--) lines.splice(random.int(lines.length + 1), 0, random.pick(others));
  const gap = random.chance(30) ? "  " : " ";
  const first =
    kind === "request"
      ? `${random.pick(methods)}${gap}${random.pick(targets)}${gap}${random.pick(versions)}`
      : `${random.pick(versions)}${gap}${random.pick(statuses)}`;
  return `${[first, ...lines].join(end)}${end}${random.chance(20) ? random.pick(lineEnds) : end}${random.pick(bodies)}`;
}
