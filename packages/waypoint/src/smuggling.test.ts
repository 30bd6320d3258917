// Attempts of a client to make the waypoint and an application disagree about where a request ends, who sent it, or where it
// goes (reliability-security.md L1–L10). None may reach the application but as one unambiguous request.
import { describe, expect, it } from "vitest";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { eventually } from "@hairpin/testkit";
import { startHttpApp } from "./testing/apps.ts";
import { rawConnection, request } from "./testing/http-client.ts";
import { openShop } from "./testing/shop.ts";
import http2 from "node:http2";
import { once } from "node:events";

const next = "GET /smuggled HTTP/1.1\r\nhost: web\r\n\r\n";
const post = (fields: string, body: string): string => `POST / HTTP/1.1\r\nhost: web\r\n${fields}\r\n${body}`;

describe("a request that can be read in two ways", () => {
  it.each<[string, string, number]>([
    ["length and chunked", post("content-length: 5\r\ntransfer-encoding: chunked\r\n", `0\r\n\r\n${next}`), 400],
    ["two lengths", post("content-length: 5\r\ncontent-length: 6\r\n", `hello${next}`), 400],
    ["the same length twice", post("content-length: 5\r\ncontent-length: 5\r\n", `hello${next}`), 400],
    ["a list of lengths", post("content-length: 5, 5\r\n", `hello${next}`), 400],
    ["a signed length", post("content-length: +5\r\n", `hello${next}`), 400],
    ["a length in hexadecimal", post("content-length: 0x5\r\n", `hello${next}`), 400],
    ["a coding that is not chunked", post("transfer-encoding: gzip, chunked\r\n", `0\r\n\r\n${next}`), 501],
    ["an obfuscated coding", post("transfer-encoding: xchunked\r\n", `0\r\n\r\n${next}`), 501],
    ["chunked twice", post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", `0\r\n\r\n${next}`), 400],
    ["space before the colon", post("transfer-encoding : chunked\r\n", `0\r\n\r\n${next}`), 400],
    ["a folded field", post("x: y\r\n transfer-encoding: chunked\r\n", `0\r\n\r\n${next}`), 400],
    ["a field with an underscore", post("content_length: 5\r\n", next), 400],
    ["a bare line feed", `GET / HTTP/1.1\nhost: web\n\n${next}`, 400],
    ["a bare carriage return", `GET / HTTP/1.1\r\nhost: web\rx: y\r\n\r\n${next}`, 400],
    ["NUL in a value", `GET / HTTP/1.1\r\nhost: web\r\nx: a\0b\r\n\r\n${next}`, 400],
    ["chunked in HTTP/1.0", `POST / HTTP/1.0\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${next}`, 400],
    ["HTTP/0.9", "GET /\r\n", 400],
    ["HTTP/2.0 in the line", "GET / HTTP/2.0\r\nhost: web\r\n\r\n", 505],
    ["no host", "GET / HTTP/1.1\r\n\r\n", 400],
    ["two hosts", "GET / HTTP/1.1\r\nhost: web\r\nhost: other\r\n\r\n", 400],
    ["a host with a path", "GET / HTTP/1.1\r\nhost: web/evil\r\n\r\n", 400],
    ["a host with user information", "GET / HTTP/1.1\r\nhost: a@web\r\n\r\n", 400],
    ["another host in the target", "GET http://other/ HTTP/1.1\r\nhost: web\r\n\r\n", 400],
    ["CONNECT", "CONNECT web:80 HTTP/1.1\r\nhost: web:80\r\n\r\n", 400],
    ["TRACE with a body", `TRACE / HTTP/1.1\r\nhost: web\r\ncontent-length: 1\r\n\r\nx`, 400],
    ["a fragment", "GET /a#b HTTP/1.1\r\nhost: web\r\n\r\n", 400],
    ["a raw byte in the target", "GET /\xe9 HTTP/1.1\r\nhost: web\r\n\r\n", 400],
    ["two spaces in the line", "GET  / HTTP/1.1\r\nhost: web\r\n\r\n", 400],
    ["a method in lower case", "get / HTTP/1.1\r\nhost: web\r\n\r\n", 400],
    ["Connection that names Host", "GET / HTTP/1.1\r\nhost: web\r\nconnection: host\r\n\r\n", 400],
    ["an unknown expectation", post("expect: 200-ok\r\ncontent-length: 1\r\n", "x"), 417],
    ["a head beyond every limit", `GET / HTTP/1.1\r\nhost: web\r\nx: ${"y".repeat(70_000)}\r\n\r\n`, 431],
    ["more fields than anybody needs", `GET / HTTP/1.1\r\nhost: web\r\n${"x: y\r\n".repeat(300)}\r\n`, 431],
  ])("%s is refused and never reaches the application", async (_, bytes, status) => {
    await using shop = await openShop(startHttpApp);
    const client = await rawConnection(shop.web);
    client.send(bytes);
    const received = await client.ended();
    expect(received).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(received).toContain("connection: close\r\n");
    expect(received.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(shop.apps[0]?.requests).toEqual([]);
    await eventually(() => expect(shop.bed.access()[0]).toMatchObject({ status, response_flags: "DPE" }));
    expect(await shop.bed.metrics()).toMatch(
      new RegExp(`^istio_requests_total\\{.*response_flags="DPE".*response_code="${status}".*\\} 1$`, "m"),
    );
  });

  it.each([
    ["a chunk size that is none", "5\r\nhello\r\nxyz\r\n"],
    ["a chunk that is longer than it says", "5\r\nhello world\r\n0\r\n\r\n"],
    ["a chunk size with a sign", "+5\r\nhello\r\n0\r\n\r\n"],
    ["a chunk line that ends with a bare line feed", "5\nhello\r\n0\r\n\r\n"],
    ["a trailer that frames", "5\r\nhello\r\n0\r\ncontent-length: 9\r\n\r\n"],
    ["endless chunk extensions", `5;${"x".repeat(400)}\r\nhello\r\n0\r\n\r\n`],
  ])("%s ends the request with 400, and the application's connection with it", async (_, body) => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => {
        incoming.resume().on("end", () => response.end("complete"));
      }),
    );
    const client = await rawConnection(shop.web);
    client.send(post("transfer-encoding: chunked\r\n", body + next));
    const received = await client.ended();
    expect(received).toMatch(/^HTTP\/1\.1 400 /);
    expect(received).not.toContain("complete");
    await eventually(() => expect(shop.apps[0]?.sockets.size).toBe(0));
    expect(shop.apps[0]?.requests.every(({ url }) => url === "/")).toBe(true);
    await eventually(() => expect(shop.bed.access()[0]).toMatchObject({ status: 400, response_flags: "DPE" }));
  });

  it.each([
    ["GET with a body", `GET / HTTP/1.1\r\nhost: web\r\ncontent-length: ${next.length}\r\n\r\n${next}`],
    ["HEAD with a body", `HEAD / HTTP/1.1\r\nhost: web\r\ncontent-length: ${next.length}\r\n\r\n${next}`],
  ])("%s is one request for the application too", async (_, bytes) => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => {
        incoming.resume().on("end", () => response.end());
      }),
    );
    const client = await rawConnection(shop.web);
    client.send(bytes);
    await client.until("200 OK");
    expect(shop.apps[0]?.requests.map(({ url }) => url)).toEqual(["/"]);
  });
});

describe("what a client must not say", () => {
  it("XFCC and x-hairpin headers are taken off, under any spelling; others pass", async () => {
    await using shop = await openShop(startHttpApp);
    await request(shop.web, "/", {
      headers: {
        "X-Forwarded-Client-Cert": "By=spiffe://x;URI=spiffe://admin",
        x_forwarded_client_cert: "URI=spiffe://admin",
        "x-hairpin-source": "spiffe://cluster.local/ns/a/sa/b",
        "X-Hairpin-For": "1.2.3.4:80",
        x_hairpin_source: "none",
        "x-forwarded-for": "203.0.113.9",
      },
    });
    const headers = shop.apps[0]?.requests[0]?.headers ?? {};
    expect(Object.keys(headers).filter((name) => /hairpin|client.cert/.test(name))).toEqual([]);
    expect(headers["x-forwarded-for"]).toBe("203.0.113.9");
  });

  it("fields that Connection names are gone for policies as well as for the application", async () => {
    await using shop = await openShop(startHttpApp, {
      service: {
        policies: [
          { name: "token", namespace: "shop", rules: [{ when: [{ key: "request.headers[x-token]", values: ["t"] }] }] },
        ],
      },
    });
    expect((await request(shop.web, "/", { headers: { "x-token": "t" } })).status).toBe(200);
    const hidden = await request(shop.web, "/", { headers: { "x-token": "t", connection: "close, x-token" } });
    expect(hidden.status).toBe(403);
  });

  it("a Host that differs from :authority, CONNECT and odd hosts are refused in HTTP/2 too", async () => {
    await using shop = await openShop(startHttpApp);
    const socket = await shop.web.connect();
    const session = http2.connect("http://web", { createConnection: () => socket });
    session.on("error", () => {});
    const status = async (headers: http2.OutgoingHttpHeaders): Promise<unknown> => {
      const stream = session.request(headers, { endStream: true });
      const answer = once(stream, "response").then(([fields]) => (fields as http2.IncomingHttpHeaders)[":status"]);
      return await answer.catch(() => "reset");
    };
    expect(await status({ ":path": "/", ":authority": "web", host: "other" })).toBe("reset");
    expect(await status({ ":path": "/", ":authority": "a,b" })).toBe(400);
    expect(await status({ ":path": "/", ":authority": "a@web" })).toSatisfy((one) => one === "reset" || one === 400);
    expect(await status({ ":path": "/%00", ":authority": "web" })).toBe(400);
    expect(await status({ ":path": "/..%2fx", ":authority": "web" })).toBe(400);
    expect(await status({ ":method": "CONNECT", ":authority": "web:80" })).toSatisfy(
      (one) => one === "reset" || one === 400,
    );
    expect(await status({ ":path": "/", ":authority": "web" })).toBe(200);
    expect(shop.apps[0]?.requests).toHaveLength(1);
    session.destroy();
  });

  it("a header in several lines does not slip past a policy about one of them", async () => {
    const { DENY } = hairpinWaypoint.Policy_Action;
    await using shop = await openShop(startHttpApp, {
      service: {
        policies: [
          {
            name: "deny-b",
            namespace: "shop",
            action: DENY,
            rules: [{ when: [{ key: "request.headers[x-role]", values: ["b"] }] }],
          },
        ],
      },
    });
    const client = await rawConnection(shop.web);
    client.send("GET / HTTP/1.1\r\nhost: web\r\nx-role: a\r\nX-Role: b\r\n\r\n");
    await client.until("403 Forbidden");
    expect(shop.apps[0]?.requests).toEqual([]);
  });
});
