import { on } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { envoyDiscovery } from "../api/index.ts";
import { systemClock } from "../process/index.ts";
import { noLogger } from "../telemetry/index.ts";
import type { TerminationReason } from "./client-metrics.ts";
import {
  createAdsClient,
  createAdsMetadata,
  openAdsStream,
  parseAdsAddress,
  type SizedResponse,
} from "./ads-channel.ts";
import { createDeltaXdsClient } from "./delta-client.ts";
import {
  type DeltaXdsClient,
  type DeltaXdsClientComponents,
  type DeltaXdsClientOptions,
  formatNodeId,
} from "./delta-client-options.ts";
import { createDeltaXdsServer } from "./delta-server.ts";
import type { ClientTypeStatus, DeltaXdsServer, DeltaXdsServerOptions } from "./delta-server-options.ts";
import { type GrpcListener, listenGrpc } from "./listen-grpc.ts";
import { createLoopbackTls, type LoopbackTls, text, TextHolder, textType } from "./loopback.test-support.ts";
import { createSubscription, type Subscription } from "./resource-type.ts";
import { acknowledgement } from "./subscribed-type.ts";

const policies = "type.test/policy";
const addresses = "type.test/address";
const serverName = "istiod.istio-system.svc";

let tls: LoopbackTls;
beforeAll(() => {
  tls = createLoopbackTls(serverName);
});

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

interface RunningServer {
  readonly xds: DeltaXdsServer<string>;
  readonly port: number;
  stop(): Promise<void>;
}

async function serve(options: Partial<DeltaXdsServerOptions<string>> = {}, port = 0): Promise<RunningServer> {
  const xds = createDeltaXdsServer<string>(
    { clock: systemClock, logger: noLogger },
    {
      typeUrls: [policies, addresses],
      authenticate: (credentials) => {
        const [header] = credentials.metadata("authorization");
        return header?.startsWith("Bearer good") === true
          ? Promise.resolve(header)
          : Promise.reject(new Error("bad token"));
      },
      scopeOf: () => "mesh",
      ...options,
    },
  );
  const listener: GrpcListener = await listenGrpc({ host: "127.0.0.1", port, tls, services: [xds.service] });
  const stop = async (): Promise<void> => {
    xds.close();
    await listener.close();
  };
  open.push({ close: stop });
  return { xds, port: listener.port, stop };
}

interface RunningClient {
  readonly client: DeltaXdsClient;
  readonly policies: TextHolder;
  readonly addresses: TextHolder;
  readonly log: string[];
  readonly ends: TerminationReason[];
}

async function connect(
  port: number,
  options: Partial<DeltaXdsClientOptions> = {},
  more: Partial<DeltaXdsClientComponents> = {},
): Promise<RunningClient> {
  const log: string[] = [];
  const ends: TerminationReason[] = [];
  const holders = { policies: new TextHolder("policies", log), addresses: new TextHolder("addresses", log) };
  const subscriptions: Subscription[] = [
    createSubscription(textType(addresses), holders.addresses),
    createSubscription(textType(policies), holders.policies),
  ];
  const metrics = { connectionTerminated: (reason: TerminationReason) => void ends.push(reason), messageReceived() {} };
  const client = createDeltaXdsClient(
    { clock: systemClock, logger: noLogger, metrics, ...more },
    {
      address: `https://127.0.0.1:${port}`,
      rootPem: () => Promise.resolve(tls.rootPem),
      alternativeHostname: serverName,
      token: () => Promise.resolve("good"),
      clusterId: "Kubernetes",
      node: {
        id: formatNodeId({ kind: "ztunnel", ip: "10.0.0.1", name: "zt", namespace: "istio-system" }),
        metadata: { NODE_NAME: "n1" },
      },
      subscriptions,
      ...options,
    },
  );
  open.push({ close: () => client.stop() });
  await client.start();
  return { client, ...holders, log, ends };
}

function publish(
  server: RunningServer,
  state: Partial<Record<"policies" | "addresses", Record<string, string>>>,
): void {
  for (const [typeUrl, values] of [
    [policies, state.policies],
    [addresses, state.addresses],
  ] as const)
    if (values)
      server.xds.publish(
        typeUrl,
        "mesh",
        Object.entries(values).map(([name, value]) => text(name, value)),
      );
}

interface RawStream {
  next(): Promise<SizedResponse["response"]>;
  ack(response: SizedResponse["response"]): void;
  close(): void;
}

/** A stream driven by hand, subscribed unless its node is "mute". */
async function openRawStream(port: number, nodeId = "slow", typeUrls = [addresses]): Promise<RawStream> {
  const options = {
    address: `https://127.0.0.1:${port}`,
    rootPem: () => Promise.resolve(tls.rootPem),
    alternativeHostname: serverName,
    token: () => Promise.resolve("good"),
    clusterId: "",
    node: { id: "", metadata: {} },
    subscriptions: [],
  };
  const client = await createAdsClient(parseAdsAddress(options.address), options);
  const call = openAdsStream(client, await createAdsMetadata(options));
  const responses = on(call, "data", { close: ["end"] });
  call.on("error", () => {});
  open.push({
    close: () => {
      call.cancel();
      client.close();
      return Promise.resolve();
    },
  });
  for (const typeUrl of nodeId === "mute" ? [] : typeUrls)
    call.write(create(envoyDiscovery.DeltaDiscoveryRequestSchema, { node: { id: nodeId }, typeUrl }));
  return {
    async next() {
      const { value } = (await responses.next()) as { value: [SizedResponse] };
      return value[0].response;
    },
    ack: (response) => void call.write(acknowledgement(response, new Map())),
    close: () => call.cancel(),
  };
}

describe("delta xDS over TLS", () => {
  it("delivers the first snapshot, earlier types first, and is then in sync", async () => {
    const server = await serve();
    publish(server, { policies: { "ns/deny": "p1" }, addresses: { a: "1", b: "2" } });
    const { client, addresses: held, log } = await connect(server.port);
    await client.whenSynced();
    expect(held.held).toEqual(
      new Map([
        ["a", "1"],
        ["b", "2"],
      ]),
    );
    expect(log).toEqual(["policies: ns/deny", "addresses: a,b"]);
    const [peer] = server.xds.clients();
    expect(peer?.node.id).toBe("ztunnel~10.0.0.1~zt.istio-system~istio-system.svc.cluster.local");
    expect(peer?.node.metadata).toEqual({ NODE_NAME: "n1" });
  });

  it("acknowledges only once all that follow have the response too", async () => {
    const server = await serve();
    publish(server, { policies: { "ns/deny": "p1" }, addresses: { a: "1" } });
    const followed = Promise.withResolvers<void>();
    const { client, log } = await connect(server.port, {}, { whenFollowed: () => followed.promise });
    await vi.waitFor(() => expect(log).not.toEqual([]));
    expect(client.status().types.map((type) => type.synced)).toEqual([false, false]);
    expect(server.xds.clients()[0]?.types.every((type) => !type.upToDate)).toBe(true);
    followed.resolve();
    await client.whenSynced();
  });

  it("is not in sync before every type was published, and empty types count", async () => {
    const server = await serve();
    publish(server, { addresses: { a: "1" } });
    const { client, addresses: held } = await connect(server.port);
    await vi.waitFor(() => expect(held.held.size).toBe(1));
    expect(client.status().types.map((type) => type.synced)).toEqual([true, false]);
    const served = (): ClientTypeStatus | undefined =>
      server.xds.clients()[0]?.types.find((type) => type.typeUrl === addresses);
    await vi.waitFor(() => expect(served()?.upToDate).toBe(true));
    // The push that the ACK asked for must be over: only the empty snapshot can be what brings the answer.
    await nextTurn();
    await nextTurn();
    publish(server, { policies: {} });
    await client.whenSynced();
  });

  it("pushes what changed and what went, and nothing else", async () => {
    const server = await serve();
    publish(server, { policies: {}, addresses: { a: "1", b: "2", c: "3" } });
    const { client, addresses: held } = await connect(server.port);
    await client.whenSynced();
    publish(server, { addresses: { a: "1", b: "changed" } });
    await vi.waitFor(() =>
      expect(held.held).toEqual(
        new Map([
          ["a", "1"],
          ["b", "changed"],
        ]),
      ),
    );
    expect(held.updates.at(-1)?.upserts.map((upsert) => upsert.name)).toEqual(["b"]);
    expect(held.updates.at(-1)?.removed).toEqual(["c"]);
    server.xds.update(addresses, "mesh", { upserts: [text("d", "4")], removed: ["a"] });
    await vi.waitFor(() => expect([...held.held.keys()]).toEqual(["b", "d"]));
  });

  it("sends policies before the addresses published with them, also when a client is busy", async () => {
    const server = await serve();
    publish(server, { policies: {}, addresses: {} });
    const { client, log } = await connect(server.port);
    await client.whenSynced();
    log.length = 0;
    for (let i = 0; i < 20; i++) publish(server, { addresses: { [`a${i}`]: "x" }, policies: { [`p${i}`]: "x" } });
    await vi.waitFor(() => expect(log.at(-1)).toBe("addresses: a19"));
    expect(log.indexOf("policies: p19")).toBeLessThan(log.indexOf("addresses: a19"));
    expect(log.indexOf("policies: p19")).toBeGreaterThanOrEqual(0);
  });

  it("keeps everything while the server is away and learns removals by versions", async () => {
    const first = await serve();
    publish(first, { policies: { "ns/p": "p" }, addresses: { a: "1", b: "2", c: "3" } });
    const { client, addresses: held, policies: heldPolicies } = await connect(first.port);
    await client.whenSynced();
    await first.stop();
    await vi.waitFor(() => expect(client.status().connected).toBe(false));
    expect(held.held.size).toBe(3);
    const second = await serve({}, first.port);
    publish(second, { policies: { "ns/p": "p" }, addresses: { a: "1", b: "changed", d: "4" } });
    await vi.waitFor(() => expect(held.held.get("d")).toBe("4"), { timeout: 5_000 });
    expect(held.held).toEqual(
      new Map([
        ["a", "1"],
        ["b", "changed"],
        ["d", "4"],
      ]),
    );
    // Only what differed was sent again.
    expect(held.updates.at(-1)?.upserts.map((upsert) => upsert.name)).toEqual(["b", "d"]);
    expect(held.updates.at(-1)?.removed).toEqual(["c"]);
    expect(heldPolicies.held).toEqual(new Map([["ns/p", "p"]]));
    const acked = second.xds.clients()[0]?.types.find((type) => type.typeUrl === policies);
    expect(acked?.ackedVersion("ns/p")).toBe(second.xds.versionOf(policies, "mesh", "ns/p"));
  });

  it("is not answered by a restarted server that knows nothing yet, so nothing is wiped", async () => {
    const first = await serve();
    publish(first, { policies: {}, addresses: { a: "1" } });
    const { client, addresses: held } = await connect(first.port);
    await client.whenSynced();
    await first.stop();
    const second = await serve({}, first.port);
    await vi.waitFor(() => expect(second.xds.clients()[0]?.types).toHaveLength(2), { timeout: 5_000 });
    expect(held.held).toEqual(new Map([["a", "1"]]));
  });

  it("applies the good resources of a response and NACKs the others by name", async () => {
    const server = await serve();
    publish(server, { policies: {}, addresses: { a: "1", b: "bad", c: "undecodable" } });
    const nacks: string[] = [];
    server.xds.onAck((event) => void (event.nack !== undefined && nacks.push(event.nack)));
    const { client, addresses: held } = await connect(server.port);
    await vi.waitFor(() => expect(nacks).toHaveLength(1));
    expect(nacks[0]).toContain("b: it is bad");
    expect(nacks[0]).toContain("c: it is said to be undecodable");
    expect(held.held).toEqual(new Map([["a", "1"]]));
    expect(client.status().types[0]).toMatchObject({ synced: false, held: 1 });
    expect(held.updates[0]?.undecodable).toEqual([{ name: "c", reason: "it is said to be undecodable" }]);
    const status = server.xds.clients()[0]?.types.find((type) => type.typeUrl === addresses);
    expect(status).toMatchObject({ nacks: 1 });
    expect(status?.ackedVersion("a")).toBeUndefined();
    publish(server, { addresses: { a: "1", b: "good now", c: "3" } });
    await client.whenSynced();
    expect(held.held.get("b")).toBe("good now");
  });

  it("is sent a rejected resource again on the next stream, and keeps its last good version meanwhile", async () => {
    const first = await serve();
    publish(first, { policies: {}, addresses: { a: "1" } });
    const { client, addresses: held } = await connect(first.port);
    await client.whenSynced();
    publish(first, { addresses: { a: "bad" } });
    await vi.waitFor(() => expect(client.status().types[0]?.rejected.get("a")).toBe("it is bad"));
    expect(held.held).toEqual(new Map([["a", "1"]]));
    const before = held.updates.length;
    await first.stop();
    const second = await serve({}, first.port);
    publish(second, { policies: {}, addresses: { a: "bad" } });
    await vi.waitFor(() => expect(held.updates.length).toBeGreaterThan(before), { timeout: 5_000 });
    expect(held.updates.at(-1)).toMatchObject({ firstOfStream: true, upserts: [{ name: "a", resource: "bad" }] });
  });

  it("refuses a bad token and says so; a token is read again for every attempt", async () => {
    const server = await serve();
    publish(server, { policies: {}, addresses: {} });
    let reads = 0;
    const token = (): Promise<string> => Promise.resolve(++reads < 3 ? "expired" : "good");
    const { client, ends } = await connect(server.port, { token });
    await client.whenSynced();
    expect(reads).toBe(3);
    expect(ends).toEqual(["Error", "Error"]);
  });

  it("refuses a server whose certificate is for neither the address nor the alternative name", async () => {
    const server = await serve();
    publish(server, { policies: {}, addresses: {} });
    const { client, ends } = await connect(server.port, { alternativeHostname: "someone.else" });
    await vi.waitFor(() => expect(ends.length).toBeGreaterThan(0));
    expect(new Set(ends)).toEqual(new Set(["ConnectionError"]));
    expect(client.status().lastError).toContain("127.0.0.1");
  });

  it("accepts a certificate for the IP that it dialled", async () => {
    const byIp = createLoopbackTls("unused.name", true);
    const xds = createDeltaXdsServer<string>(
      { clock: systemClock, logger: noLogger },
      { typeUrls: [policies, addresses], authenticate: () => Promise.resolve(""), scopeOf: () => "mesh" },
    );
    const listener = await listenGrpc({ host: "127.0.0.1", port: 0, tls: byIp, services: [xds.service] });
    open.push(listener);
    for (const typeUrl of [policies, addresses]) xds.publish(typeUrl, "mesh", []);
    const rootPem = (): Promise<string> => Promise.resolve(byIp.rootPem);
    const { client } = await connect(listener.port, { rootPem, alternativeHostname: undefined });
    await client.whenSynced();
  });

  it("does not start where the port is taken", async () => {
    const server = await serve();
    const second = listenGrpc({ host: "127.0.0.1", port: server.port, services: [] });
    await expect(second).rejects.toMatchObject({ code: "XDS_LISTEN_FAILED" });
  });

  it("refuses addresses that it cannot read", () => {
    expect(() => parseAdsAddress("ftp://x")).toThrow("is not https://host:port");
    expect(parseAdsAddress("istiod:15012")).toEqual({ secure: true, target: "istiod:15012", host: "istiod" });
    for (const remote of ["http://istiod:15010", "http://10.0.0.1:15010", "http://127.0.0.1.evil.example:15010"])
      expect(() => parseAdsAddress(remote)).toThrow("in clear");
    expect(parseAdsAddress("http://[::1]:15010")).toEqual({ secure: false, target: "[::1]:15010", host: "::1" });
  });

  it("reads the root file again for every connection", async () => {
    const server = await serve();
    publish(server, { policies: {}, addresses: {} });
    const other = createLoopbackTls(serverName);
    let reads = 0;
    const rootPem = (): Promise<string> => Promise.resolve(++reads < 2 ? other.rootPem : tls.rootPem);
    const { client } = await connect(server.port, { rootPem });
    await client.whenSynced();
    expect(reads).toBe(2);
  });

  it("does not serve a type or scope that the client may not have", async () => {
    const server = await serve({ scopeOf: (_peer, typeUrl) => (typeUrl === policies ? "mesh" : undefined) });
    publish(server, { policies: { p: "1" }, addresses: { a: "1" } });
    const { policies: heldPolicies, addresses: held } = await connect(server.port);
    await vi.waitFor(() => expect(heldPolicies.held.size).toBe(1));
    expect(held.updates).toEqual([]);
  });

  it("refuses a node that claims to be somebody else", async () => {
    const server = await serve({ checkNode: (_principal, node) => (node.id.includes("zt.") ? "not you" : undefined) });
    const { client } = await connect(server.port);
    await vi.waitFor(() => expect(client.status().lastError).toContain("not you"));
  });

  it("refuses streams beyond the limit", async () => {
    const server = await serve({ maxStreams: 1 });
    publish(server, { policies: {}, addresses: {} });
    const first = await connect(server.port);
    await first.client.whenSynced();
    const second = await connect(server.port);
    await vi.waitFor(() => expect(second.client.status().lastError).toContain("too many streams"));
    await first.client.stop();
    await second.client.whenSynced();
  });

  it("reconnects at once after the server ended the stream in good order", async () => {
    const server = await serve({ maxStreamAgeMs: 50 });
    publish(server, { policies: {}, addresses: { a: "1" } });
    const { client, ends } = await connect(server.port);
    await client.whenSynced();
    await vi.waitFor(() => expect(ends.length).toBeGreaterThan(1), { timeout: 5_000 });
    expect(new Set(ends)).toEqual(new Set(["Complete"]));
  });

  it("serves on-demand clients by name, alias and service, and follows their changing wishes", async () => {
    const server = await serve();
    server.xds.publish(policies, "mesh", []);
    server.xds.publish(addresses, "mesh", [
      { ...text("ns/web", "web"), aliases: ["/10.96.0.1"] },
      { ...text("pod-1", "1"), follows: ["ns/web"] },
      text("pod-2", "2"),
    ]);
    const held = new TextHolder();
    const subscriptions = [createSubscription(textType(addresses), held, ["/10.96.0.1", "unknown"])];
    const { client } = await connect(server.port, { subscriptions });
    await client.whenSynced();
    expect([...held.held.keys()]).toEqual(["ns/web", "pod-1"]);
    expect(held.updates[0]).toMatchObject({ removed: ["unknown"], firstOfStream: false });
    client.updateNames(addresses, { add: ["pod-2"], remove: ["unknown"] });
    await vi.waitFor(() => expect(held.held.get("pod-2")).toBe("2"));
    expect(() => client.updateNames(policies, { add: ["x"] })).toThrow("not subscribed on demand");
  });

  it("keeps a client that does not answer out of everybody's way, and brings it up to date when it does", async () => {
    const server = await serve({ maxQueuedNames: 5 });
    publish(server, { policies: {}, addresses: { a: "1" } });
    const fast = await connect(server.port);
    await fast.client.whenSynced();
    const slow = await openRawStream(server.port);
    const first = await slow.next();
    for (let i = 0; i < 20; i++) publish(server, { addresses: { a: "1", [`only-${i}`]: "x" } });
    await vi.waitFor(() => expect(fast.addresses.held.has("only-19")).toBe(true));
    const slowStatus = (): ClientTypeStatus | undefined =>
      server.xds.clients().find((peer) => peer.node.id === "slow")?.types[0];
    expect(slowStatus()).toMatchObject({ upToDate: false, delivered: 1 });
    expect(slowStatus()?.resyncs).toBeGreaterThan(0);
    slow.ack(first);
    const second = await slow.next();
    expect(second.resources.map((resource) => resource.name)).toEqual(["only-19"]);
    slow.ack(second);
    await vi.waitFor(() => expect(slowStatus()?.upToDate).toBe(true));
    slow.close();
    await vi.waitFor(() => expect(server.xds.clients()).toHaveLength(1));
  });

  it("holds addresses back while policies that changed cannot be sent yet", async () => {
    const server = await serve();
    publish(server, { policies: { p: "1" }, addresses: { a: "1" } });
    const stream = await openRawStream(server.port, "slow", [addresses, policies]);
    const first = await stream.next();
    expect(first.typeUrl).toBe(policies);
    const second = await stream.next();
    expect(second.typeUrl).toBe(addresses);
    stream.ack(second);
    // Not acknowledged: `first`. A changed policy has to wait, and so has the address that goes with it.
    publish(server, { policies: { p: "2" }, addresses: { a: "2" } });
    const third = stream.next();
    const addressStatus = (): ClientTypeStatus | undefined =>
      server.xds.clients()[0]?.types.find((type) => type.typeUrl === addresses);
    await vi.waitFor(() => expect(addressStatus()?.ackedVersion("a")).toBeDefined());
    stream.ack(first);
    expect((await third).typeUrl).toBe(policies);
    expect((await stream.next()).typeUrl).toBe(addresses);
  });

  it("refuses a stream whose first request names no node, and one that says nothing", async () => {
    const server = await serve({ firstRequestTimeoutMs: 20 });
    const nameless = await openRawStream(server.port, "");
    await expect(nameless.next()).rejects.toThrow("must name the node");
    const mute = await openRawStream(server.port, "mute");
    await expect(mute.next()).rejects.toThrow("no request came");
    expect(server.xds.clients()).toEqual([]);
  });

  it("rejects whenSynced when it is stopped first, and can be stopped while nobody listens", async () => {
    const server = await serve();
    await server.stop();
    const { client } = await connect(server.port);
    await client.stop();
    await expect(client.whenSynced()).rejects.toMatchObject({ code: "XDS_STOPPED" });
  });
});
