// The client of shared/identity, here because shared cannot depend on testkit.
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { status } from "@grpc/grpc-js";
import {
  type CaClient,
  type CaClientOptions,
  type Certificate,
  createCaClient,
  readX509,
  verifyCsr,
} from "@hairpin/shared/identity";
import { afterEach, describe, expect, test } from "vitest";
import { eventually } from "./eventually.ts";
import { type FakeCaAnswer, type FakeCaCall, type FakeCaServer, startFakeCaServer } from "./fake-ca-server.ts";
import { ManualClock } from "./manual-clock.ts";
import { TestAuthority } from "./test-authority.ts";

const authority = new TestAuthority({ intermediate: true });
const web = authority.identity("shop/web");
const webId = "spiffe://cluster.local/ns/shop/sa/web";

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close();
});

type ServerOptions = Partial<Parameters<typeof startFakeCaServer>[0]>;

async function serve(options: ServerOptions = {}): Promise<FakeCaServer> {
  const server = await startFakeCaServer({ authority, ...options });
  open.push(() => server.close());
  return server;
}

function clientOf(server: { readonly address: string }, options: Partial<CaClientOptions> = {}): CaClient {
  const client = createCaClient({
    address: server.address,
    rootPem: async () => authority.rootPem,
    token: async () => "token-1",
    clusterId: "Kubernetes",
    impersonate: true,
    ...options,
  });
  open.push(() => client.close());
  return client;
}

/** What a server that answers so makes of a request. */
async function fetchAnswered(
  answer: (call: FakeCaCall, sign: () => readonly string[]) => FakeCaAnswer,
): Promise<Certificate> {
  return await clientOf(await serve({ answer })).fetchCertificate(web);
}

describe("CaClient asks", () => {
  test("for a certificate that it can use", async () => {
    const server = await serve();
    const certificate = await clientOf(server).fetchCertificate(web);
    const leaf = readX509(certificate.chainPem);
    expect(leaf.subjectAltName).toBe(`URI:${webId}`);
    expect(certificate).toMatchObject({ identity: web, rootsPem: [authority.rootPem], notAfter: leaf.validToDate });
    expect(certificate.chainPem).toBe(leaf.toString() + authority.signing.certificatePem);
    expect(certificate.privateKeyPem).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
  });

  test("with a new key each time", async () => {
    const server = await serve();
    const client = clientOf(server);
    await Promise.all([client.fetchCertificate(web), client.fetchCertificate(web)]);
    const [first, second] = server.calls.map((call) => verifyCsr(call.csrPem).publicKey);
    expect(first && second?.equals(first)).toBe(false);
  });

  test("on behalf of the workload, with cluster, lifetime and further headers", async () => {
    const server = await serve();
    await clientOf(server, { ttlMs: 7_200_500, headers: { "x-tenant": "blue" } }).fetchCertificate(web);
    expect(server.calls).toEqual([
      {
        csrPem: expect.stringMatching(/^-----BEGIN CERTIFICATE REQUEST-----\n/),
        validitySeconds: 7200,
        impersonatedIdentity: webId,
        metadata: expect.objectContaining({
          authorization: "Bearer token-1",
          clusterid: "Kubernetes",
          "x-tenant": "blue",
        }),
      },
    ]);
  });

  test("in its own name without naming itself, for a day unless told otherwise", async () => {
    const server = await serve({ ownIdentity: web });
    await clientOf(server, { impersonate: false }).fetchCertificate(web);
    expect(server.calls).toMatchObject([{ impersonatedIdentity: undefined, validitySeconds: 86_400 }]);
  });

  test("with the token as it is at that moment", async () => {
    const server = await serve();
    const tokens = ["first", "second\n", "third"];
    const client = clientOf(server, { token: async () => tokens.shift() });
    for (let call = 0; call < 3; call++) await client.fetchCertificate(web);
    expect(server.calls.map((call) => call.metadata["authorization"])).toEqual([
      "Bearer first",
      "Bearer second",
      "Bearer third",
    ]);
  });

  test.each([[undefined], [""], [" \n"]])("without a token when there is none (%j)", async (token) => {
    const server = await serve();
    await clientOf(server, { token: async () => token }).fetchCertificate(web);
    expect(server.calls[0]?.metadata).not.toHaveProperty("authorization");
  });

  test("for many at once over one connection", async () => {
    const server = await serve();
    const proxy = await countConnections(server.port);
    const client = clientOf(proxy);
    const names = Array.from({ length: 20 }, (_, index) => authority.identity(`shop/app-${index}`));
    const certificates = await Promise.all(names.map((name) => client.fetchCertificate(name)));
    expect(certificates.map((one) => one.identity)).toEqual(names);
    expect(proxy.accepted()).toBe(1);
  });

  test("an address without scheme by TLS", async () => {
    const server = await serve();
    const certificate = await clientOf({ address: `127.0.0.1:${server.port}` }).fetchCertificate(web);
    expect(certificate.identity).toEqual(web);
  });
});

describe("CaClient refuses an answer", () => {
  const other = new TestAuthority();
  const mine = new TestAuthority();
  test.each<[string, (call: FakeCaCall, sign: () => readonly string[]) => FakeCaAnswer, RegExp]>([
    ["that is empty", () => ({ chain: [] }), /no root certificate present/],
    ["of one certificate only", (_, sign) => ({ chain: sign().slice(0, 1) }), /no root certificate present/],
    ["without the intermediate", (_, sign) => ({ chain: sign().toSpliced(1, 1) }), /ends in none of the roots/],
    [
      "whose chain ends in another root",
      (_, sign) => ({ chain: [...sign().slice(0, -1), other.rootPem] }),
      /ends in none of the roots/,
    ],
    [
      "whose last part is no root",
      (_, sign) => ({ chain: sign().slice(0, 1).concat(sign().slice(0, 1)) }),
      /not a CA certificate/,
    ],
    ["whose root is noise", (_, sign) => ({ chain: [...sign().slice(0, -1), "hello"] }), /not readable/],
    ["whose leaf is noise", (_, sign) => ({ chain: ["hello", ...sign().slice(1)] }), /not readable/],
    ["whose leaf is empty", (_, sign) => ({ chain: ["", sign().at(-1) ?? ""] }), /sent no certificate/],
    [
      "for somebody else",
      (call) => ({ chain: signFor(authority, call, "shop/other") }),
      /\/sa\/other instead of spiffe/,
    ],
    [
      "of another trust domain",
      (call) => ({ chain: signFor(authority, call, "spiffe://evil/ns/shop/sa/web") }),
      /spiffe:\/\/evil.* instead of/,
    ],
    ["for another key", () => ({ chain: [authority.issue(web).chainPem, authority.rootPem] }), /for another key/],
    [
      "with seven certificates",
      (_, sign) => ({ chain: [...Array.from({ length: 6 }, () => sign()[0] ?? ""), authority.rootPem] }),
      /more than 5/,
    ],
  ])("%s", async (_, answer, reason) => {
    await expect(fetchAnswered(answer)).rejects.toMatchObject({
      code: "CA_RESPONSE_INVALID",
      origin: "upstream",
      retryable: false,
      message: expect.stringMatching(reason),
    });
  });

  test("in its own name that is for another account", async () => {
    const server = await serve({ ownIdentity: authority.identity("shop/other") });
    await expect(clientOf(server, { impersonate: false }).fetchCertificate(web)).rejects.toMatchObject({
      code: "CA_RESPONSE_INVALID",
    });
  });

  test.each([
    ["is long over", new Date(Date.now() + 48 * 3_600_000), /it expired/],
    ["has not begun", new Date(Date.now() - 3_600_000), /it is valid from/],
  ])("whose time %s by our own clock", async (_, date, reason) => {
    const server = await serve();
    const client = createCaClient(
      {
        address: server.address,
        rootPem: async () => authority.rootPem,
        token: async () => "t",
        clusterId: "Kubernetes",
        impersonate: true,
      },
      { clock: new ManualClock(date) },
    );
    open.push(() => client.close());
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({
      code: "CA_RESPONSE_INVALID",
      message: expect.stringMatching(reason),
    });
  });

  test("larger than its limit", async () => {
    const answer = (_: FakeCaCall, sign: () => readonly string[]): FakeCaAnswer => ({
      chain: [...sign(), mine.rootPem.repeat(100)],
    });
    const client = clientOf(await serve({ answer }), { maxMessageBytes: 10_000 });
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({
      code: "CA_FAILED",
      details: { status: "RESOURCE_EXHAUSTED" },
    });
  });
});

describe("CaClient tells a failure", () => {
  test.each([
    [status.UNAUTHENTICATED, "CA_REFUSED", false],
    [status.PERMISSION_DENIED, "CA_REFUSED", false],
    [status.UNAVAILABLE, "CA_UNAVAILABLE", true],
    [status.DEADLINE_EXCEEDED, "CA_UNAVAILABLE", true],
    [status.INTERNAL, "CA_FAILED", false],
    [status.INVALID_ARGUMENT, "CA_FAILED", false],
    [status.UNIMPLEMENTED, "CA_FAILED", false],
  ])("of status %d as %s (retryable: %s)", async (code, expected, retryable) => {
    await expect(fetchAnswered(() => ({ code, message: "as the CA says" }))).rejects.toMatchObject({
      code: expected,
      origin: "upstream",
      retryable,
      details: { status: status[code] },
      message: expect.stringContaining(`No certificate for ${webId} from https://127.0.0.1:`),
    });
  });

  test("after its deadline when the CA does not answer", async () => {
    const server = await serve({ answer: () => ({ hang: true }) });
    const client = clientOf(server, { deadlineMs: 150 });
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({ code: "CA_UNAVAILABLE", retryable: true });
    expect(server.calls).toHaveLength(1);
  });

  test("after its deadline when nobody speaks TLS", async () => {
    const silent = await listen(createServer({ pauseOnConnect: true }));
    const client = clientOf({ address: `https://127.0.0.1:${silent}` }, { deadlineMs: 150 });
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({ code: "CA_UNAVAILABLE" });
  });

  test("at once when nobody listens", async () => {
    const server = await serve();
    await server.close();
    await expect(clientOf(server).fetchCertificate(web)).rejects.toMatchObject({
      code: "CA_UNAVAILABLE",
      message: expect.stringContaining("ECONNREFUSED"),
    });
  });

  test("at once when the caller gives up", async () => {
    const server = await serve({ answer: () => ({ hang: true }) });
    const abort = new AbortController();
    const fetching = clientOf(server).fetchCertificate(web, { signal: abort.signal });
    const outcome = expect(fetching).rejects.toMatchObject({ code: "CA_FAILED", details: { status: "CANCELLED" } });
    await eventually(() => expect(server.calls).toHaveLength(1));
    abort.abort();
    await outcome;
  });

  test("without a call when the caller had given up before", async () => {
    const server = await serve();
    await expect(clientOf(server).fetchCertificate(web, { signal: AbortSignal.abort() })).rejects.toThrow();
    expect(server.calls).toEqual([]);
  });

  test.each([
    ["with a line end", "a\nauthorization: x"],
    ["with a space", "a b"],
    ["with an umlaut", "tökén"],
    ["of 20 KiB", "a".repeat(20_480)],
  ])("of a token %s, and sends nothing", async (_, token) => {
    const server = await serve();
    const failure = clientOf(server, { token: async () => token }).fetchCertificate(web);
    await expect(failure).rejects.toMatchObject({ code: "CA_CONFIG_INVALID" });
    await expect(failure).rejects.not.toMatchObject({ message: expect.stringContaining(token) });
    expect(server.calls).toEqual([]);
  });

  test.each<["token" | "rootPem", RegExp]>([
    ["token", /The token for the CA cannot be read/],
    ["rootPem", /The root certificates for the CA cannot be read/],
  ])("of a %s file that is not there yet, as worth another try", async (option, reason) => {
    const server = await serve();
    const missing = Object.assign(new Error("ENOENT: no such file"), { code: "ENOENT" });
    let reads = 0;
    const good = option === "token" ? "token-1" : authority.rootPem;
    const client = clientOf(server, {
      [option]: async () => (reads++ === 0 ? Promise.reject(missing) : good),
    });
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({
      code: "CA_CONFIG_INVALID",
      retryable: true,
      message: expect.stringMatching(reason),
      cause: missing,
    });
    expect((await client.fetchCertificate(web)).identity).toEqual(web);
  });
});

describe("CaClient trusts", () => {
  const stranger = new TestAuthority();

  test("no server of another root, and shows it no token", async () => {
    const server = await serve();
    const client = clientOf(server, { rootPem: async () => stranger.rootPem });
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({
      code: "CA_UNAVAILABLE",
      message: expect.stringMatching(/certificate/),
    });
    expect(server.calls).toEqual([]);
  });

  test("any of several roots, with comments between", async () => {
    const server = await serve();
    const rootPem = async (): Promise<string> => `# other\n${stranger.rootPem}\n# ours\n${authority.rootPem}`;
    expect((await clientOf(server, { rootPem }).fetchCertificate(web)).identity).toEqual(web);
  });

  test.each([
    ["empty", "", /there is no certificate in it/],
    ["no PEM", "hello", /not readable/],
    ["cut off", authority.rootPem.slice(0, 300), /not readable/],
    ["noise", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", /not readable/],
    ["a private key", authority.root.privateKeyPem, /not readable/],
  ])("nobody while its roots are %s, and says so", async (_, pem, reason) => {
    const server = await serve();
    let roots = pem;
    const client = clientOf(server, { rootPem: async () => roots });
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({
      code: "CA_CONFIG_INVALID",
      retryable: true,
      message: expect.stringMatching(reason),
    });
    roots = authority.rootPem;
    expect((await client.fetchCertificate(web)).identity).toEqual(web);
  });

  test("not the system's roots with a CA that they do not know", async () => {
    const client = clientOf(await serve(), { rootPem: async () => undefined });
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({ code: "CA_UNAVAILABLE" });
  });

  test("no certificate for another address", async () => {
    const server = await serve({ names: { dnsNames: ["istiod.istio-system.svc"], ips: ["10.0.0.1"] } });
    await expect(clientOf(server).fetchCertificate(web)).rejects.toMatchObject({
      code: "CA_UNAVAILABLE",
      message: expect.stringMatching(/IP: 127\.0\.0\.1 is not in the cert/),
    });
  });

  test.each([
    ["by the alternative name", { dnsNames: ["istiod.istio-system.svc"] }],
    ["by its address though an alternative name is given", { ips: ["127.0.0.1"] }],
  ])("a server known %s", async (_, names) => {
    const server = await serve({ names });
    const client = clientOf(server, { alternativeHostname: "istiod.istio-system.svc" });
    expect((await client.fetchCertificate(web)).identity).toEqual(web);
  });

  test("no server that has neither name", async () => {
    const server = await serve({ names: { dnsNames: ["istiod.evil.svc"] } });
    const client = clientOf(server, { alternativeHostname: "istiod.istio-system.svc" });
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({ code: "CA_UNAVAILABLE" });
    expect(server.calls).toEqual([]);
  });
});

describe("CaClient comes back", () => {
  test("when the CA was restarted", async () => {
    const first = await serve();
    const client = clientOf(first);
    await client.fetchCertificate(web);
    await first.close();
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({ code: "CA_UNAVAILABLE" });
    const second = await serve({ port: first.port });
    expect((await client.fetchCertificate(web)).identity).toEqual(web);
    expect(second.calls).toHaveLength(1);
  });

  test("when the CA has a new root, as soon as the file has it", async () => {
    const first = await serve();
    let roots = authority.rootPem;
    const client = clientOf(first, { rootPem: async () => roots });
    await client.fetchCertificate(web);
    await first.close();
    const renewed = new TestAuthority();
    await serve({ port: first.port, authority: renewed });
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({ code: "CA_UNAVAILABLE" });
    roots = renewed.rootPem;
    expect((await client.fetchCertificate(web)).rootsPem).toEqual([renewed.rootPem]);
  });

  test("over one connection while the roots stay, over a new one when they change", async () => {
    const server = await serve();
    const proxy = await countConnections(server.port);
    let roots = authority.rootPem;
    const client = clientOf(proxy, { rootPem: async () => roots });
    await client.fetchCertificate(web);
    await client.fetchCertificate(web);
    expect(proxy.accepted()).toBe(1);
    roots += new TestAuthority().rootPem;
    expect((await client.fetchCertificate(web)).identity).toEqual(web);
    expect(proxy.accepted()).toBe(2);
  });

  test("a call that fails late does not close the connection of later calls", async () => {
    const server = await serve({
      answer: (call) => (call.impersonatedIdentity?.endsWith("/slow") === true ? { hang: true } : undefined),
    });
    const proxy = await countConnections(server.port);
    let roots = authority.rootPem;
    const client = clientOf(proxy, { rootPem: async () => roots });
    const slow = expect(client.fetchCertificate(authority.identity("shop/slow"))).rejects.toMatchObject({
      code: "CA_UNAVAILABLE",
      details: { status: "UNAVAILABLE" },
    });
    await eventually(() => expect(server.calls).toHaveLength(1));
    roots += new TestAuthority().rootPem;
    await client.fetchCertificate(web);
    expect(proxy.accepted()).toBe(2);
    proxy.cut(0);
    await slow;
    await client.fetchCertificate(web);
    expect(proxy.accepted()).toBe(2);
  });
});

describe("CaClient, closed", () => {
  test("dials no more, and closing again is harmless", async () => {
    const server = await serve();
    const client = clientOf(server);
    await client.fetchCertificate(web);
    client.close();
    client.close();
    await expect(client.fetchCertificate(web)).rejects.toMatchObject({
      code: "CA_UNAVAILABLE",
      message: expect.stringContaining("has been closed"),
    });
    expect(server.calls).toHaveLength(1);
  });

  test("while it reads the token, sends nothing", async () => {
    const server = await serve();
    const token = Promise.withResolvers<string>();
    const client = clientOf(server, { token: () => token.promise });
    const fetching = expect(client.fetchCertificate(web)).rejects.toMatchObject({ code: "CA_UNAVAILABLE" });
    client.close();
    token.resolve("token-1");
    await fetching;
    expect(server.calls).toEqual([]);
  });
});

describe("createCaClient", () => {
  test.each([
    ["", /give https:\/\/host:port/],
    ["https://", /give https:\/\/host:port/],
    ["https://ca:99999", /give https:\/\/host:port/],
    ["ftp://ca:1", /scheme must be https/],
    ["unix:///run/ca.sock", /scheme must be https/],
    ["http://10.0.0.1:15010", /token in clear/],
    ["http://istiod.istio-system.svc:15010", /token in clear/],
    ["http://127.0.0.1.evil.example:80", /token in clear/],
    ["https://ca:1/path", /only host and port/],
    ["https://ca:1/?x", /only host and port/],
    ["https://ca:1/#x", /only host and port/],
    ["https://user@ca:1", /only host and port/],
    ["https://:secret@ca:1", /only host and port/],
  ])("refuses the address %j", (address, reason) => {
    expect(() => clientOf({ address })).toThrow(
      expect.objectContaining({ code: "CA_CONFIG_INVALID", message: expect.stringMatching(reason) }),
    );
  });

  test.each([
    "https://istiod.istio-system.svc:15012",
    "https://[fd00::1]:15012",
    "istiod:15012",
    "http://localhost:15010",
    "http://[::1]:15010",
  ])("takes the address %s", (address) => {
    expect(() => clientOf({ address })).not.toThrow();
  });
});

function signFor(by: TestAuthority, call: FakeCaCall, name: string): readonly string[] {
  return by.certificateAuthority().sign(call.csrPem, { identity: by.identity(name), ttlMs: 3_600_000 });
}

async function listen(server: Server): Promise<number> {
  const listening = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", listening.resolve);
  await listening.promise;
  open.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

interface CountingProxy {
  readonly address: string;
  accepted(): number;
  /** Breaks the connection that was accepted as this number, counted from 0. */
  cut(index: number): void;
}

async function countConnections(port: number): Promise<CountingProxy> {
  const cuts: (() => void)[] = [];
  const server = createServer((downstream) => {
    const upstream = connect(port, "127.0.0.1");
    const cut = (): void => {
      downstream.destroy();
      upstream.destroy();
    };
    cuts.push(cut);
    for (const socket of [downstream, upstream]) socket.on("error", cut).on("close", cut);
    downstream.pipe(upstream).pipe(downstream);
  });
  const own = await listen(server);
  open.push(() => cuts.forEach((cut) => cut()));
  return { address: `https://127.0.0.1:${own}`, accepted: () => cuts.length, cut: (index) => cuts[index]?.() };
}
