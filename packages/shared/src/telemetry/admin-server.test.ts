import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { text as readText } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { Readiness } from "../process/readiness.ts";
import { loggingRoutes, metricsRoutes, readinessRoutes } from "./admin-routes.ts";
import { type AdminHandler, type AdminServer, type AdminServerOptions, startAdminServer } from "./admin-server.ts";
import { createLogger, noLogger } from "./logger.ts";
import { LogLevels } from "./log-levels.ts";
import { MetricRegistry } from "./metrics.ts";

let server: AdminServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function serve(
  routes: Iterable<[string, AdminHandler]>,
  options: Partial<AdminServerOptions> = {},
): Promise<string> {
  const host = options.host ?? "127.0.0.1";
  server = await startAdminServer({ host, port: 0, routes: new Map(routes), logger: noLogger, ...options });
  return `http://127.0.0.1:${server.address.port}`;
}

const hello: [string, AdminHandler] = ["GET /hello", () => ({ body: "hello\n" })];

/** With a Host header of one's own, which fetch does not allow. */
async function get(
  url: string,
  headers: Record<string, string>,
  method = "GET",
): Promise<{ status: number; body: string }> {
  const answer = Promise.withResolvers<{ status: number; body: string }>();
  const request = httpRequest(url, { method, headers }, (response) => {
    readText(response).then((body) => answer.resolve({ status: response.statusCode ?? 0, body }), answer.reject);
  });
  request.on("error", answer.reject);
  request.end();
  return await answer.promise;
}

/** Sends raw bytes and gives all that comes back until the server closes. */
async function exchange(port: number, bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(bytes);
  return await readText(socket);
}

describe("startAdminServer", () => {
  it("answers its routes, GET routes also for HEAD", async () => {
    const base = await serve([hello]);
    const response = await fetch(`${base}/hello?x=1`);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe("hello\n");
    expect(await get(`${base}/hello`, {}, "HEAD")).toEqual({ status: 200, body: "" });
  });

  it("gives 404 for unknown paths and 405 with the allowed methods for others", async () => {
    const base = await serve([["POST /logging", () => ({ body: "" })], hello]);
    expect((await fetch(`${base}/none`)).status).toBe(404);
    const response = await fetch(`${base}/logging`);
    expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
  });

  it.each(["localhost", "127.0.0.1", "127.0.0.1:15000", "[::1]:15000", "LOCALHOST:1"])(
    "accepts Host %s",
    async (host) => {
      const base = await serve([hello]);
      expect((await get(`${base}/hello`, { host })).status).toBe(200);
    },
  );

  it.each([
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example:15000",
    "10.0.0.1",
    "[::2]",
    "127.0.0.1@evil",
    "a b",
  ])("refuses Host %j: a web page may have rebound its name to us", async (host) => {
    const base = await serve([hello]);
    expect((await get(`${base}/hello`, { host })).status).toBe(403);
  });

  it.each(["GET /hello HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n", "GET /hello HTTP/1.0\r\n\r\n"])(
    "refuses a request without a host: %j",
    async (head) => {
      await serve([hello]);
      expect(await exchange(server?.address.port ?? 0, head)).toMatch(/^HTTP\/1\.1 403 /);
    },
  );

  it("accepts the address that was dialled, as probes and scrapes use", async () => {
    const base = (await serve([hello], { host: "127.0.0.2" })).replace("127.0.0.1", "127.0.0.2");
    expect((await get(`${base}/hello`, {})).status).toBe(200);
    expect((await get(`${base}/hello`, { host: "127.0.0.3" })).status).toBe(403);
  });

  it("accepts any Host where that was asked for", async () => {
    const base = await serve([hello], { anyHost: true });
    expect((await get(`${base}/hello`, { host: "control.istio-system.svc:15014" })).status).toBe(200);
  });

  it("turns what a handler throws into a 500 without details, and logs it", async () => {
    const lines: string[] = [];
    const logger = createLogger({ destination: { write: (line) => void lines.push(line), flush: () => {} } });
    const base = await serve([["GET /bad", () => Promise.reject(new Error("secret detail"))]], { logger });
    const response = await fetch(`${base}/bad`);
    expect([response.status, await response.text()]).toEqual([500, "internal error\n"]);
    expect(lines.join("")).toContain("secret detail");
  });

  it("closes a connection whose head does not come within 2 s", async () => {
    await serve([hello]);
    const before = performance.now();
    expect(await exchange(server?.address.port ?? 0, "GET /hello HTTP/1.1\r\nhost: localhost\r\n")).toContain("408");
    expect(performance.now() - before).toBeLessThan(4_500);
  }, 10_000);

  it("refuses heads above 8 KiB", async () => {
    await serve([hello]);
    const head = `GET /hello HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(9_000)}\r\n\r\n`;
    expect(await exchange(server?.address.port ?? 0, head)).toMatch(/^HTTP\/1\.1 431 /);
  });

  it("does not take an unread body for the next request", async () => {
    await serve([hello]);
    const inner = "GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n";
    const outer = `GET /hello HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${inner.length}\r\n\r\n${inner}`;
    const answer = await exchange(server?.address.port ?? 0, outer);
    expect(answer.match(/HTTP\/1\.1 200/g)).toHaveLength(1);
  });

  it("compresses long answers for those who can read them", async () => {
    const base = await serve([["GET /long", () => ({ body: "x".repeat(5_000) })]]);
    for (const encoding of ["gzip", "br", "zstd"]) {
      const accepted = `deflate, ${encoding};q=0.5`;
      const response = await fetch(`${base}/long`, { headers: { "accept-encoding": accepted } });
      expect(response.headers.get("content-encoding")).toBe(encoding);
      expect(await response.text()).toBe("x".repeat(5_000));
    }
    const plain = await get(`${base}/long`, { "accept-encoding": "gzip;q=0" });
    expect(plain.body).toBe("x".repeat(5_000));
  });

  it("ends kept connections when it is closed, and closes twice without harm", async () => {
    const base = await serve([hello]);
    await (await fetch(`${base}/hello`)).text();
    await server?.close();
    await server?.close();
    await expect(fetch(`${base}/hello`)).rejects.toThrow();
  });

  it("rejects when the port is taken", async () => {
    await serve([hello]);
    const port = server?.address.port ?? 0;
    const second = startAdminServer({ host: "127.0.0.1", port, routes: new Map(), logger: noLogger });
    await expect(second).rejects.toMatchObject({ code: "EADDRINUSE" });
  });
});

describe("the routes of every daemon", () => {
  it("tell readiness as ztunnel does", async () => {
    const readiness = new Readiness();
    const [proxy, manager] = [readiness.task("proxy"), readiness.task("workload proxy manager")];
    const base = await serve(readinessRoutes(readiness));
    const pending = await fetch(`${base}/healthz/ready`);
    expect([pending.status, await pending.text()]).toEqual([
      500,
      "not ready, pending: proxy, workload proxy manager\n",
    ]);
    proxy.done();
    manager.done();
    const ready = await fetch(`${base}/healthz/ready`);
    expect([ready.status, await ready.text()]).toEqual([200, "ready\n"]);
  });

  it.each(["/metrics", "/stats/prometheus"])("give metrics at %s in the format asked for", async (path) => {
    const registry = new MetricRegistry();
    registry.counter({ name: "a_total", help: "" }).handle({}).add(1);
    const base = await serve(metricsRoutes(registry));
    expect(await (await fetch(base + path)).text()).toContain("# TYPE a_total counter");
    const open = await fetch(base + path, { headers: { accept: "application/openmetrics-text" } });
    expect(open.headers.get("content-type")).toMatch(/^application\/openmetrics-text/);
  });

  it("change log levels: all, one scope, back", async () => {
    const levels = new LogLevels("info");
    const base = await serve(loggingRoutes(levels));
    const post = async (query: string): Promise<[number, string]> => {
      const response = await fetch(`${base}/logging${query}`, { method: "POST" });
      return [response.status, await response.text()];
    };
    expect(await post("")).toEqual([200, "current log level is info\n"]);
    expect(await post("?level=debug")).toEqual([200, "current log level is debug\n"]);
    expect(await post("?level=xds=warn,access=off")).toEqual([200, "current log level is xds=warn,access=off,debug\n"]);
    expect(await post("?xds=error")).toEqual([200, "current log level is xds=error,access=off,debug\n"]);
    expect(await post("?reset")).toEqual([200, "current log level is info\n"]);
    const [status, body] = await post("?level=loud");
    expect(status).toBe(400);
    expect(body).toMatch(/^Log level "loud" is unknown: give one of trace, /);
    expect((await fetch(`${base}/logging`)).status).toBe(405);
  });
});
