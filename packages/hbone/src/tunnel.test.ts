import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect as connectTcpSocket, createServer, type AddressInfo, type Socket } from "node:net";
import { request as httpRequest } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { request as http2Request } from "http2-wrapper";
import { afterEach, describe, expect, it } from "vitest";
import type { Identity, SocketAddress } from "@hairpin/shared/model";
import { errorMessage, systemClock } from "@hairpin/shared/process";
import { eventually, startEchoServer, TestAuthority } from "@hairpin/testkit";
import {
  connectTcp,
  createNodeTlsEngine,
  createSocketChannel,
  findHeader,
  listenTcp,
  type ByteChannel,
  type TlsMaterial,
} from "@hairpin/wire";
import { connectHbone } from "./node-client.ts";
import {
  defaultTunnelDialerOptions,
  defaultTunnelListenerOptions,
  type TunnelDialerOptions,
  type TunnelListenerOptions,
} from "./options.ts";
import { relay } from "./relay.ts";
import { TunnelDialer } from "./tunnel-dialer.ts";
import { acceptTunnelSession, type InboundConnect, type InboundTunnelSession } from "./tunnel-listener.ts";

const authority = new TestAuthority();
const tls = createNodeTlsEngine();
const client = authority.identity("a/client");
const server = authority.identity("b/server");
const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

interface ListenerSetup {
  readonly address: SocketAddress;
  readonly sessions: InboundTunnelSession[];
  readonly failures: unknown[];
}

/** A proxy that accepts tunnels on loopback and does with each request what `onConnect` says. */
async function startListener(
  onConnect: (request: InboundConnect) => void,
  setup: { material?: TlsMaterial; options?: Partial<TunnelListenerOptions> } = {},
): Promise<ListenerSetup> {
  const context = tls.createContext(setup.material ?? authority.material(server));
  const sessions: InboundTunnelSession[] = [];
  const failures: unknown[] = [];
  const options = { ...defaultTunnelListenerOptions, ...setup.options };
  const listener = await listenTcp({
    host: "127.0.0.1",
    port: 0,
    onConnection: (socket) => {
      const accept = { socket, context, trustDomain: "cluster.local", onConnect };
      acceptTunnelSession({ tls, clock: systemClock }, options, accept).then(
        (session) => sessions.push(session),
        (error: unknown) => failures.push(error),
      );
    },
  });
  closers.push(async () => {
    for (const session of sessions) session.destroy(new Error("test is over"));
    await listener.close();
  });
  return { address: { ip: "127.0.0.1", port: listener.address.port }, sessions, failures };
}

/** Does what an inbound ztunnel does: dials the authority's port on loopback, answers 200, relays. */
function relayToApp(request: InboundConnect): void {
  const port = Number(request.authority.split(":").at(-1));
  connectTcp({ ip: "127.0.0.1", port, timeoutMs: 1000 }).then(
    (socket) => void relay(request.accept(), createSocketChannel(socket)),
    () => request.refuse(503),
  );
}

function createDialer(
  options: Partial<TunnelDialerOptions> = {},
  material: TlsMaterial = authority.material(client),
): TunnelDialer {
  const context = tls.createContext(material);
  const dialer = new TunnelDialer(
    { tls, clock: systemClock, contextFor: async () => context },
    { ...defaultTunnelDialerOptions, ...options },
  );
  closers.push(() => dialer.destroy(new Error("test is over")));
  return dialer;
}

function targetOf(address: SocketAddress, expectedIdentities: readonly Identity[] = [server]) {
  return {
    sourceIdentity: client,
    expectedIdentities,
    address,
    sourceIp: "127.0.0.1",
    connectSocket: (timeoutMs: number) => connectTcp({ ...address, timeoutMs }),
  };
}

/** Sends bytes, ends, and gives back all that came until the other side ended. */
function exchange(channel: ByteChannel, bytes: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const received: Buffer[] = [];
    channel.setHandler({
      onData: (chunk) => void received.push(Buffer.from(chunk)),
      onEnd: () => resolve(Buffer.concat(received)),
      onDrain: () => {},
      onClose: (error) => error && reject(error),
    });
    channel.resume();
    if (bytes.length > 0) channel.write(bytes);
    channel.end();
  });
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("tunnels", () => {
  it("carry bytes both ways, keep half-close, and tell both sides who the other is", async () => {
    const echo = await startEchoServer();
    closers.push(() => echo.close());
    const seen: InboundConnect[] = [];
    const { address } = await startListener((request) => {
      seen.push(request);
      relayToApp(request);
    });
    const headers = [{ name: "baggage", value: "k8s.namespace.name=a" }];
    const tunnel = await createDialer().dial(targetOf(address), {
      authority: `127.0.0.1:${echo.address.port}`,
      headers,
    });
    const bytes = randomBytes(3_000_000);
    expect(sha256(await exchange(tunnel, bytes))).toBe(sha256(bytes));
    expect(tunnel.peerIdentity).toEqual(server);
    expect(seen[0]?.peerIdentity).toEqual(client);
    expect(seen[0]?.method).toBe("CONNECT");
    expect(findHeader(seen[0]?.headers ?? [], "baggage")).toBe("k8s.namespace.name=a");
  });

  it("share one session for a burst, and open another when it is full", async () => {
    const { address, sessions } = await startListener((request) => void request.accept());
    const dialer = createDialer({ maxTunnelsPerSession: 20 });
    await Promise.all(
      Array.from({ length: 50 }, () => dialer.dial(targetOf(address), { authority: "10.0.0.1:80", headers: [] })),
    );
    expect(sessions.map(({ openTunnels }) => openTunnels)).toEqual([20, 20, 10]);
    expect(dialer.sessions).toBe(3);
  });

  it("never mix two sources in one session", async () => {
    const { address, sessions } = await startListener((request) => void request.accept());
    const dialer = createDialer();
    const request = { authority: "10.0.0.1:80", headers: [] };
    await dialer.dial(targetOf(address), request);
    await dialer.dial({ ...targetOf(address), sourceIp: "127.0.0.2" }, request);
    expect(sessions).toHaveLength(2);
  });

  it.each([400, 401, 503])("report a CONNECT refused with %i and keep the session for others", async (status) => {
    const { address, sessions } = await startListener((request) =>
      request.authority === "10.0.0.1:1" ? request.refuse(status) : void request.accept(),
    );
    const dialer = createDialer();
    const refused = dialer.dial(targetOf(address), { authority: "10.0.0.1:1", headers: [] });
    await expect(refused).rejects.toMatchObject({ code: "HBONE_CONNECT_REFUSED", details: { status } });
    await dialer.dial(targetOf(address), { authority: "10.0.0.1:2", headers: [] });
    expect(sessions).toHaveLength(1);
  });

  it("report a stream that the other side aborts", async () => {
    const { address } = await startListener((request) => request.abort());
    await expect(
      createDialer().dial(targetOf(address), { authority: "10.0.0.1:1", headers: [] }),
    ).rejects.toMatchObject({ code: "HBONE_STREAM_RESET" });
  });

  it("move to a fresh session when the other drains, while the old tunnel goes on", async () => {
    const echo = await startEchoServer();
    closers.push(() => echo.close());
    const { address, sessions } = await startListener(relayToApp);
    const dialer = createDialer();
    const request = { authority: `127.0.0.1:${echo.address.port}`, headers: [] };
    const old = await dialer.dial(targetOf(address), request);
    sessions[0]?.drain();
    const fresh = await eventually(async () => {
      const tunnel = await dialer.dial(targetOf(address), request);
      // Until GOAWAY arrived, new tunnels go over the old session; they must not keep it open.
      if (sessions.length < 2) tunnel.destroy();
      expect(sessions).toHaveLength(2);
      return tunnel;
    });
    expect((await exchange(old, Buffer.from("old"))).toString()).toBe("old");
    expect((await exchange(fresh, Buffer.from("new"))).toString()).toBe("new");
    await expect(sessions[0]?.whenClosed).resolves.toBeUndefined();
  });

  it("tell the peer of a break as a break, in both directions", async () => {
    const broken = Promise.withResolvers<Error | undefined>();
    const { address } = await startListener((request) => {
      const tunnel = request.accept();
      tunnel.setHandler({ onData: () => tunnel.destroy(), onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
      tunnel.resume();
    });
    const tunnel = await createDialer().dial(targetOf(address), { authority: "10.0.0.1:1", headers: [] });
    tunnel.setHandler({
      onData: () => {},
      onEnd: () => broken.reject(new Error("taken for an end")),
      onDrain: () => {},
      onClose: broken.resolve,
    });
    tunnel.resume();
    tunnel.write(Buffer.from("x"));
    expect(await broken.promise).toMatchObject({ code: "HTTP2_STREAM_RESET" });
  });

  it("hold a bounded number of bytes for a reader that stalls, and lose none", async () => {
    const bytes = randomBytes(24 * 1024 * 1024);
    const app = createServer((socket) => void socket.on("error", () => {}).end(bytes));
    app.listen(0, "127.0.0.1");
    await once(app, "listening");
    closers.push(() => void app.close());
    const { address } = await startListener(relayToApp);
    const tunnel = await createDialer().dial(targetOf(address), {
      authority: `127.0.0.1:${(app.address() as AddressInfo).port}`,
      headers: [],
    });
    const hash = createHash("sha256");
    let stalledAt = 0;
    const done = Promise.withResolvers<void>();
    tunnel.setHandler({
      onData: (chunk) => {
        hash.update(chunk);
        if (stalledAt === 0) {
          stalledAt = tunnel.bytesRead;
          tunnel.pause();
        }
      },
      onEnd: () => done.resolve(),
      onDrain: () => {},
      onClose: (error) => error && done.reject(error),
    });
    tunnel.resume();
    await eventually(() => expect(stalledAt).toBeGreaterThan(0));
    // What the application could get rid of while nobody reads: windows and socket buffers, not the whole.
    const before = process.memoryUsage().arrayBuffers;
    await new Promise((resolve) => setImmediate(resolve));
    expect(tunnel.bytesRead).toBe(stalledAt);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
    tunnel.resume();
    await done.promise;
    expect(hash.digest("hex")).toBe(sha256(bytes));
  });
});

describe("identity of the peer", () => {
  const connectRequest = { authority: "10.0.0.1:80", headers: [] };

  it("must be one of those expected", async () => {
    const { address } = await startListener((request) => void request.accept());
    const dial = createDialer().dial(targetOf(address, [client]), connectRequest);
    await expect(dial).rejects.toMatchObject({
      code: "HBONE_PEER_IDENTITY",
      message: expect.stringContaining("got spiffe://cluster.local/ns/b/sa/server"),
    });
  });

  it("must be of the listener's trust domain", async () => {
    const { address, failures } = await startListener((request) => void request.accept());
    const foreign = authority.material(client, { wrongTrustDomain: true });
    await expect(createDialer({}, foreign).dial(targetOf(address), connectRequest)).rejects.toThrow();
    await eventually(() => expect(failures).toMatchObject([{ code: "HBONE_PEER_IDENTITY" }]));
  });

  it.each([
    ["two SPIFFE IDs", { extraUris: ["spiffe://cluster.local/ns/x/sa/y"] }],
    ["no URI", { uris: [], dnsNames: ["server"] }],
    ["another URI", { uris: ["https://cluster.local/ns/a/sa/client"] }],
    ["a SPIFFE ID with a query", { uris: ["spiffe://cluster.local/ns/a/sa/client?x"] }],
  ])("must not have a certificate with %s", async (_, overrides) => {
    const { address, failures } = await startListener((request) => void request.accept());
    await expect(
      createDialer({}, authority.material(client, overrides)).dial(targetOf(address), connectRequest),
    ).rejects.toThrow();
    await eventually(() => expect(failures).toMatchObject([{ code: "HBONE_PEER_IDENTITY" }]));
  });

  it("must come from our roots", async () => {
    const { address, failures } = await startListener((request) => void request.accept());
    const other = new TestAuthority();
    const material = { ...other.material(client), roots: authority.material(client).roots };
    await expect(createDialer({}, material).dial(targetOf(address), connectRequest)).rejects.toThrow();
    await eventually(() => expect(failures).toMatchObject([{ code: "HBONE_HANDSHAKE_FAILED" }]));
  });
});

describe("dialling", () => {
  const connectRequest = { authority: "10.0.0.1:80", headers: [] };

  it("reports a refused TCP connection", async () => {
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, "close");
    const dial = createDialer().dial(targetOf({ ip: "127.0.0.1", port }), connectRequest);
    await expect(dial).rejects.toMatchObject({
      code: "HBONE_DIAL_FAILED",
      message: expect.stringContaining("ECONNREFUSED"),
    });
  });

  it("gives up on a peer that never finishes the handshake", async () => {
    const silent = createServer(() => {});
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    closers.push(() => void silent.close());
    const dialer = createDialer({ connectTimeoutMs: 200 });
    const dial = dialer.dial(
      targetOf({ ip: "127.0.0.1", port: (silent.address() as AddressInfo).port }),
      connectRequest,
    );
    await expect(dial).rejects.toMatchObject({ code: "HBONE_HANDSHAKE_FAILED" });
  });

  it("gives up on a CONNECT that is never answered", async () => {
    const { address } = await startListener(() => {});
    const dial = createDialer({ responseTimeoutMs: 100 }).dial(targetOf(address), connectRequest);
    await expect(dial).rejects.toMatchObject({ code: "HBONE_CONNECT_TIMEOUT" });
  });

  it("finds a peer dead that answers no PING", async () => {
    const sockets: Socket[] = [];
    const { address: real } = await startListener((request) => void request.accept());
    // A relay that stops passing bytes: the connection looks alive to TCP.
    let stalled = false;
    const middle = createServer((downstream) => {
      const upstream = connectTcpSocket(real.port, "127.0.0.1");
      sockets.push(downstream, upstream);
      downstream.on("data", (chunk) => stalled || upstream.write(chunk));
      upstream.on("data", (chunk) => stalled || downstream.write(chunk));
      for (const socket of [downstream, upstream]) socket.on("error", () => {});
    });
    middle.listen(0, "127.0.0.1");
    await once(middle, "listening");
    closers.push(() => {
      for (const socket of sockets) socket.destroy();
      middle.close();
    });
    const dialer = createDialer({ pingIntervalMs: 50, pingTimeoutMs: 100 });
    const address = { ip: "127.0.0.1", port: (middle.address() as AddressInfo).port };
    const tunnel = await dialer.dial(targetOf(address), connectRequest);
    const closed = Promise.withResolvers<Error | undefined>();
    tunnel.setHandler({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: closed.resolve });
    stalled = true;
    expect(errorMessage(await closed.promise)).toMatch(/PING/);
    await eventually(() => expect(dialer.sessions).toBe(0));
  });

  it("closes a listener's session that sends no HTTP/2", async () => {
    const { address, sessions } = await startListener(() => {}, { options: { settingsTimeoutMs: 150 } });
    const socket = await connectTcp({ ...address, timeoutMs: 1000 });
    const channel = await tls.connect(socket, tls.createContext(authority.material(client)), { timeoutMs: 1000 });
    channel.setHandler({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
    channel.resume();
    await eventually(() => expect(sessions).toHaveLength(1));
    expect(await sessions[0]?.whenClosed).toMatchObject({ code: "HBONE_PREFACE_TIMEOUT" });
  });
});

describe("HboneClient", () => {
  it("speaks HTTP/1.1 and HTTP/2 through tunnels", async () => {
    const http2 = createHttp2Server((request, response) => void response.end(`h${request.httpVersion} ${request.url}`));
    http2.listen(0, "127.0.0.1");
    await once(http2, "listening");
    closers.push(() => void http2.close());
    const { createServer: createHttpServer } = await import("node:http");
    const http1 = createHttpServer((request, response) => void response.end(`h${request.httpVersion} ${request.url}`));
    http1.listen(0, "127.0.0.1");
    await once(http1, "listening");
    closers.push(() => void http1.close());
    const { address } = await startListener(relayToApp);
    const hbone = await connectHbone({ address, material: authority.material(client), expectedIdentities: [server] });
    closers.push(() => hbone.close());

    const h2session = await hbone.openSession(`127.0.0.1:${(http2.address() as AddressInfo).port}`);
    const second = await new Promise<string>((resolve, reject) => {
      const request = http2Request("http://app/two", { h2session } as never, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => resolve(text));
      });
      request.on("error", reject);
      request.end();
    });
    expect(second).toBe("h2.0 /two");
    h2session.destroy();

    const tunnel = await hbone.openTunnel(`127.0.0.1:${(http1.address() as AddressInfo).port}`);
    const first = await new Promise<string>((resolve, reject) => {
      const request = httpRequest(
        { createConnection: () => tunnel, path: "/one", host: "app", headers: { connection: "close" } },
        (response) => {
          let text = "";
          response.on("data", (chunk: Buffer) => (text += chunk.toString()));
          response.on("end", () => resolve(text));
        },
      );
      request.on("error", reject);
      request.end();
    });
    expect(first).toBe("h1.1 /one");
  });

  it("reports refusals with their status, and peers that are not expected", async () => {
    const { address } = await startListener((request) => request.refuse(401));
    const material = authority.material(client);
    const hbone = await connectHbone({ address, material, expectedIdentities: [server] });
    closers.push(() => hbone.close());
    await expect(hbone.openTunnel("10.0.0.1:80")).rejects.toMatchObject({
      code: "HBONE_CONNECT_REFUSED",
      details: { status: 401 },
    });
    await expect(connectHbone({ address, material, expectedIdentities: [client] })).rejects.toMatchObject({
      code: "HBONE_PEER_IDENTITY",
    });
  });
});
