// What a waypoint does with HTTP, gRPC and TCP, on manifests/routing.yaml.
import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { countBy, seenBy } from "./harness/call-loop.ts";
import { type CurlOptions, ScenarioMesh } from "./harness/scenario-mesh.ts";

let mesh: ScenarioMesh;

beforeAll(async () => {
  mesh = await ScenarioMesh.start("e2e-routing", "routing.yaml");
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

const from = "web/client";

describe("a route", () => {
  it.each<[string, string, string, CurlOptions?]>([
    ["its path exactly", "/exact", "v2"],
    ["nothing: a longer path is not exact", "/exact/longer", "v1"],
    ["a path prefix", "/prefix/a", "v1"],
    ["the longest path prefix", "/prefix/deeper/b", "v2"],
    ["nothing: a prefix ends at a segment", "/prefixes", "v1"],
    ["a header", "/", "v2", { headers: { "X-Version": "v2" } }],
    ["nothing: the header has another value", "/", "v1", { headers: { "x-version": "v3" } }],
    ["a query parameter", "/?a=b&version=v2", "v2"],
    ["nothing: the parameter has another value", "/?version=v22", "v1"],
    ["a method", "/", "v2", { method: "PUT" }],
    ["nothing", "/", "v1"],
  ])("matches %s", async (_what, path, version, options) => {
    const answer = await mesh.curl(from, `http://web${path}`, options);
    expect(answer.status).toBe(200);
    expect(seenBy(answer)).toMatchObject({ version, path });
  });

  it("splits by weight", async () => {
    const calls = await mesh.calls(from, { url: "http://web/split", count: 120 });
    const counts = countBy(calls, (call) => seenBy(call).version);
    expect(counts["v1"]).toBeGreaterThan(30);
    expect(counts["v2"]).toBeGreaterThan(30);
  });

  it("splits the requests of one connection too", async () => {
    const calls = await mesh.calls(from, { url: "http://web/split", count: 60, keepAlive: true });
    expect(Object.keys(countBy(calls, (call) => seenBy(call).version)).toSorted()).toEqual(["v1", "v2"]);
  });

  it("redirects", async () => {
    const answer = await mesh.curl(from, "http://web/old/page?q=1");
    expect(answer.status).toBe(301);
    expect(answer.headers["location"]).toEqual(["https://example.org/new/page?q=1"]);
  });

  it("rewrites host and path", async () => {
    const seen = seenBy(await mesh.curl(from, "http://web/rewrite/page?q=1"));
    expect(seen.path).toBe("/served/page?q=1");
    expect(seen.headers["host"]).toBe("inner.example");
  });

  it("changes request and response headers", async () => {
    const headers = { "x-set": "old", "x-add": "some", "x-remove": "gone", "x-keep": "kept" };
    const answer = await mesh.curl(from, "http://web/headers", { headers });
    const seen = seenBy(answer);
    expect(seen.headers).toMatchObject({ "x-set": "1", "x-keep": "kept" });
    expect(seen.headers["x-add"]).toMatch(/^some, ?more$/);
    expect(seen.headers).not.toHaveProperty("x-remove");
    expect(answer.headers["x-answer"]).toEqual(["set"]);
    expect(answer.headers).not.toHaveProperty("x-served-by");
  });

  it("answers 500 when its backend does not exist, and says so in its status", async () => {
    expect((await mesh.curl(from, "http://web/nobody")).status).toBe(500);
    const { status } = await mesh.object("HTTPRoute", "web/web");
    const [parent] = (status as { parents: { conditions: { type: string; status: string; reason: string }[] }[] })
      .parents;
    expect(parent?.conditions).toContainEqual(
      expect.objectContaining({ type: "ResolvedRefs", status: "False", reason: "BackendNotFound" }),
    );
    expect(parent?.conditions).toContainEqual(expect.objectContaining({ type: "Accepted", status: "True" }));
  });
});

describe("a policy on HTTP", () => {
  it.each<[number, string, string, CurlOptions?]>([
    [200, "a method that is allowed", "/"],
    [403, "a method that is not", "/", { method: "DELETE" }],
    [403, "a path that is left out", "/secret/x"],
    [403, "that path in disguise", "/%73ecret/x"],
    [403, "that path by a detour", "/open/../secret/x", { args: ["--path-as-is"] }],
    [200, "a method on its path by its principal", "/upload", { method: "POST" }],
    [403, "a method on another path", "/uploads", { method: "POST" }],
    [200, "a header that opens everything", "/secret/x", { method: "DELETE", headers: { "x-key": "open-sesame" } }],
    [403, "that header with another value", "/secret/x", { headers: { "x-key": "open" } }],
  ])("answers %i to %s", async (status, _what, path, options) => {
    const answer = await mesh.curl(from, `http://locked${path}`, options);
    expect(answer.status).toBe(status);
    if (status === 403) expect(answer.body).toBe("RBAC: access denied");
  });

  it("does not take a caller's word for who it is", async () => {
    const headers = {
      "x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/web/sa/client",
      "x-hairpin-source": "spiffe://cluster.local/ns/web/sa/client",
    };
    const answer = await mesh.curl("outside/client", "http://locked.web/upload", { method: "POST", headers });
    expect(answer.status).toBe(403);
  });

  it("is told in the access log with policy and rule", async () => {
    await mesh.curl(from, "http://locked/secret/logged");
    const line = await eventually(async () => {
      const lines = await mesh.logLines("waypoint/waypoint", "web");
      return lines.find((text) => text.includes('path="/secret/logged"')) ?? expect.fail("It is not logged yet");
    });
    expect(line).toMatch(/status=403/);
    expect(line).toMatch(/web\/locked/);
    expect(line).toContain('src.identity="spiffe://cluster.local/ns/web/sa/client"');
  });
});

describe("gRPC", () => {
  interface Told {
    readonly answers: Readonly<Record<string, number>>;
    readonly failures: Readonly<Record<string, number>>;
  }

  it("spreads the calls of one connection over the pods", async () => {
    const [told] = await mesh.runApp<Told>(from, "grpc-calls", ["web:9090", "40"]);
    expect(told?.failures).toEqual({});
    expect(told?.answers["v1"]).toBeGreaterThan(5);
    expect(told?.answers["v2"]).toBeGreaterThan(5);
  });

  it("is refused by policy with PERMISSION_DENIED", async () => {
    const [told] = await mesh.runApp<Told>(from, "grpc-calls", ["locked:9090", "3"]);
    expect(told).toEqual({ answers: {}, failures: { "7 RBAC: access denied": 3 } });
  });
});

describe("TCP through a waypoint", () => {
  it("passes both ways, spread over the pods by connection, and knows nothing of HTTP", async () => {
    const pods = new Set<string>();
    for (let call = 0; call < 12 && pods.size < 2; call++) {
      const held = await mesh.hold(from, "web", 9000);
      const [first = ""] = (await held.echo()).split(" ");
      pods.add(first);
      expect(await held.echo()).toMatch(new RegExp(`^${first} `));
      await held.close();
    }
    expect([...pods].toSorted()).toEqual(["v1", "v2"]);
  });

  it("keeps a half-closed connection open for the answer", async () => {
    const [told] = await mesh.runApp<{ answer: string }>(from, "half-close", ["web", "9000"]);
    expect(told?.answer).toMatch(/^v[12] last words\n$/);
  });

  it("lets the server speak first, on a port that says TCP", async () => {
    const held = await mesh.hold(from, "web", 9001);
    await held.echo();
    expect(held.lines[0]).toMatch(/^hello from v[12]$/);
    await held.close();
  });

  it("and on one that says nothing, after listening a moment", async () => {
    const held = await mesh.hold(from, "web", 8001);
    await held.line(/^hello from v[12]$/);
    expect(await held.echo()).toMatch(/^v[12] ping/);
    await held.close();
  });

  it("recognises HTTP on a port that says nothing", async () => {
    const answer = await mesh.curl(from, "http://web:8000/sniffed");
    expect(answer.status).toBe(200);
    expect(seenBy(answer).headers).toHaveProperty("x-request-id");
  });
});

describe("a service account's own waypoint", () => {
  it("beats the namespace's, by Service and by pod IP", async () => {
    for (const host of ["audited", `${await mesh.podIp("web/audited")}:8080`]) {
      expect((await mesh.curl(from, `http://${host}/mine`)).status).toBe(200);
    }
    const count = async (name: string): Promise<number> =>
      (await mesh.logLines(`waypoint/${name}`, "web")).filter((line) => line.includes('path="/mine"')).length;
    await eventually(async () => expect(await count("audit")).toBe(2));
    expect(await count("waypoint")).toBe(0);
  });
});

describe("PeerAuthentication", () => {
  it("STRICT refuses plaintext, except on the port that is left open", async () => {
    const ip = await mesh.podIp("mtls/server");
    for (const host of ["server.mtls", `${ip}:8080`]) {
      expect((await mesh.curl("outside/client", `http://${host}/`)).status).toBe(0);
      expect((await mesh.curl("mtls/client", `http://${host}/`)).status).toBe(200);
    }
    for (const caller of ["outside/client", "mtls/client"] as const) {
      const held = await mesh.hold(caller, ip, 9000);
      expect(await held.echo()).toMatch(/^server/);
      await held.close();
    }
    const line = await mesh.findAccess(
      { direction: "inbound", "dst.namespace": "mtls", error: /policy rejection/ },
      "node2",
    );
    expect(line.fields["policy"]).toBe("mtls/converted_peer_authentication_server");
  });
});
