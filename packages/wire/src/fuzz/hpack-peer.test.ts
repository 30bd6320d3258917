// Our HPACK and nghttp2's (inside node:http2), with the same tables over a whole connection.
import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, connect } from "node:net";
import { describe, expect, it } from "vitest";
import { type HeaderList, headerList } from "../http2/header-field.ts";
import { createHttp2Session } from "../http2/session.ts";
import { collect } from "../http2/test-support/session-pair.ts";
import { socketChannel } from "../http2/test-support/socket-channel.ts";
import { Random } from "./random.ts";

const requests = 1500;

/** Fields out of a pool that is larger than the table, so that entries are found, missed and evicted. */
function randomFields(random: Random): [string, string][] {
  return Array.from({ length: random.int(12) }, () => {
    const name = `x-${random.chance(3) ? "name".repeat(random.int(8)) : "n"}${random.int(30)}`;
    const length = random.chance(8) ? random.int(300) : random.int(12);
    const value = Array.from({ length }, () =>
      String.fromCharCode(random.chance(9) ? 0x80 + random.int(0x80) : 0x21 + random.int(0x5e)),
    );
    return [name, random.chance(2) ? `v${random.int(40)}` : value.join("")];
  });
}

/** In an order that node:http2 keeps, which puts fields of one name together. */
function sorted(fields: HeaderList | readonly (readonly [string, string])[]): string[] {
  return fields
    .map((field) => ("name" in field ? `${field.name}: ${field.value}` : `${field[0]}: ${field[1]}`))
    .filter((line) => line.startsWith("x-"))
    .toSorted();
}

describe("HPACK", () => {
  it.each([4096, 0, 200])(
    "is the same to nghttp2, with tables of %i bytes",
    { timeout: 60_000 },
    async (tableBytes) => {
      const seen: string[][] = [];
      const server = createServer({ settings: { headerTableSize: tableBytes } });
      server.on("stream", (stream: ServerHttp2Stream, _headers, _flags, raw: readonly string[]) => {
        const fields: [string, string][] = [];
        for (let i = 0; i < raw.length; i += 2) fields.push([raw[i] ?? "", raw[i + 1] ?? ""]);
        seen.push(sorted(fields));
        const answer: Record<string, string[]> = {};
        for (const [name, value] of fields) if (name.startsWith("x-")) (answer[name] ??= []).push(value);
        stream.respond(answer, { endStream: true });
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const socket = connect({ port: (server.address() as AddressInfo).port, allowHalfOpen: true });
      await once(socket, "connect");
      const session = createHttp2Session({
        role: "client",
        channel: socketChannel(socket),
        options: { headerTableSize: tableBytes },
        handler: { onClose: () => {} },
      });
      const random = new Random(tableBytes + 1);
      for (let i = 0; i < requests; i++) {
        const fields = randomFields(random);
        const request = [
          [":method", "GET"],
          [":scheme", "http"],
          [":authority", "a"],
          [":path", "/"],
          ...fields,
        ] as const;
        const { headers, error } = await collect(session.request(headerList(request), { endStream: true }));
        expect(error).toBeUndefined();
        expect(seen.at(-1)).toEqual(sorted(fields));
        expect(sorted(headers ?? [])).toEqual(sorted(fields));
      }
      session.destroy();
      server.close();
    },
  );
});
