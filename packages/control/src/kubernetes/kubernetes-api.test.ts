import { ManualClock, eventually, FakeApiServer } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import { fakeApiOf } from "../testing/fake-api.ts";
import type { KubernetesApi, WatchEvent, ApiError } from "@hairpin/shared/kubernetes";

interface ConfigMap extends KubernetesObject {
  readonly data?: Readonly<Record<string, string>>;
}

const configMaps = { apiVersion: "v1", kind: "ConfigMap" };
const configMap = (name: string, data: Record<string, string> = {}): ConfigMap => ({
  ...configMaps,
  metadata: { name, namespace: "shop" },
  data,
});
const at = (name: string) => ({ ...configMaps, namespace: "shop", name });

describe("KubernetesApi", () => {
  let fake: FakeApiServer;
  let api: KubernetesApi;
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    api = fakeApiOf(fake);
  });
  afterEach(async () => {
    await fake[Symbol.asyncDispose]();
  });
  const codeOf = async (work: Promise<unknown>): Promise<string | undefined> =>
    await work.then(
      () => undefined,
      (error: unknown) => (error as ApiError).code,
    );

  test("creates, reads, replaces and deletes", async () => {
    await api.create(configMap("a", { k: "1" }));
    const read = await api.get<ConfigMap>(at("a"));
    expect(read?.data).toEqual({ k: "1" });
    const { metadata = configMap("a").metadata } = read ?? {};
    await api.replace({ ...configMap("a", { k: "2" }), metadata });
    expect((await api.get<ConfigMap>(at("a")))?.data).toEqual({ k: "2" });
    expect(await api.delete(at("a"))).toBe(true);
    expect(await api.delete(at("a"))).toBe(false);
    expect(await api.get(at("a"))).toBeUndefined();
  });

  test("tells apart: taken, changed meanwhile, refused by preconditions, kind not served", async () => {
    const first = await api.create(configMap("a"));
    expect(await codeOf(api.create(configMap("a")))).toBe("API_ALREADY_EXISTS");
    await api.replace({ ...configMap("a", { k: "1" }), metadata: first.metadata });
    expect(await codeOf(api.replace({ ...configMap("a", { k: "2" }), metadata: first.metadata }))).toBe("API_CONFLICT");
    expect(await codeOf(api.delete(at("a"), { preconditions: { uid: "other" } }))).toBe("API_CONFLICT");
    expect(await codeOf(api.get({ apiVersion: "example.org/v1", kind: "Thing", name: "a" }))).toBe("API_KIND_UNKNOWN");
  });

  test("notices that a kind is no longer served, and finds it again", async () => {
    const routes = { apiVersion: "gateway.networking.k8s.io/v1alpha2", kind: "TCPRoute" };
    expect((await api.list(routes)).items).toEqual([]);
    const before = fake.servedKind("TCPRoute");
    fake.stopServing("TCPRoute");
    expect(await codeOf(api.list(routes))).toBe("API_KIND_UNKNOWN");
    expect(await api.findServed("gateway.networking.k8s.io", "TCPRoute")).toBeUndefined();
    fake.serve(before);
    expect(await api.findServed("gateway.networking.k8s.io", "TCPRoute")).toEqual(routes);
    expect((await api.list(routes)).items).toEqual([]);
  });

  test("applies with an owner, by force, to the status alone", async () => {
    await api.apply(configMap("a", { k: "1" }), { fieldManager: "one" });
    expect(await codeOf(api.apply(configMap("a", { k: "2" }), { fieldManager: "two" }))).toBe("API_CONFLICT");
    const taken = await api.apply<ConfigMap>(configMap("a", { k: "2" }), { fieldManager: "two", force: true });
    expect(taken.data).toEqual({ k: "2" });
    fake.put({ apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "shop" }, spec: { a: 1 } });
    const status = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", namespace: "shop" },
      status: { b: 2 },
    };
    await api.apply(status, { fieldManager: "one", subresource: "status" });
    expect(fake.find("Service", "shop", "web")).toMatchObject({ spec: { a: 1 }, status: { b: 2 } });
  });

  test("lists by pages, with kind and version on every item", async () => {
    for (const name of ["a", "b", "c"]) fake.put(configMap(name));
    const first = await api.list(configMaps, { limit: 2 });
    expect(first.items.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual(["ConfigMap a", "ConfigMap b"]);
    const second = await api.list(configMaps, { limit: 2, continueToken: first.continueToken ?? "" });
    expect(second.items.map(({ metadata }) => metadata.name)).toEqual(["c"]);
    expect(second.continueToken).toBeUndefined();
  });

  test("watches from a version, with bookmarks, until the signal", async () => {
    const { resourceVersion } = await api.list(configMaps);
    const stop = new AbortController();
    const seen: WatchEvent<KubernetesObject>[] = [];
    const done = (async () => {
      for await (const event of api.watch(configMaps, { resourceVersion, signal: stop.signal })) seen.push(event);
    })();
    await eventually(() => expect(fake.watchesOf("ConfigMap")).toBe(1));
    fake.put(configMap("a"), configMap("a", { k: "1" }));
    fake.remove("ConfigMap", "shop", "a");
    fake.sendBookmarks();
    await eventually(() => expect(seen.map(({ type }) => type)).toEqual(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]));
    stop.abort();
    await done;
    await eventually(() => expect(fake.watchesOf("ConfigMap")).toBe(0));
  });

  test("a watch from too long ago is expired", async () => {
    fake.put(configMap("a"));
    fake.compact();
    const stop = new AbortController();
    const watch = api.watch(configMaps, { resourceVersion: "1", signal: stop.signal })[Symbol.asyncIterator]();
    expect(await codeOf(watch.next())).toBe("API_EXPIRED");
  });

  test("obeys Retry-After, and gives up after three", async () => {
    const clock = new ManualClock();
    api = fakeApiOf(fake, clock);
    fake.fail({ verb: "create" }, { status: 429, retryAfterSeconds: 2 }, 1);
    const created = api.create(configMap("a"));
    await eventually(() => expect(clock.nextTimerMs).toBe(2000));
    await clock.advance(2000);
    expect((await created).metadata.name).toBe("a");
    fake.fail({ verb: "get", kind: "ConfigMap" }, { status: 503, retryAfterSeconds: 1 }, 10);
    const refused = codeOf(api.get(at("a")));
    for (let attempt = 1; attempt <= 3; attempt++) {
      await eventually(() => expect(clock.nextTimerMs).toBe(1000));
      await clock.advance(1000);
    }
    expect(await refused).toBe("API_OVERLOADED");
  });

  test("tries again on a kept connection that died, but never a create", async () => {
    await api.list(configMaps);
    fake.fail({ verb: "list" }, "cut");
    expect((await api.list(configMaps)).items).toEqual([]);
    fake.fail({ verb: "create" }, "cut");
    expect(await codeOf(api.create(configMap("a")))).toBe("API_UNAVAILABLE");
    expect(fake.requests.filter(({ verb }) => verb === "create")).toHaveLength(1);
  });

  test("says that a server is away", async () => {
    await fake[Symbol.asyncDispose]();
    expect(await codeOf(api.list(configMaps))).toBe("API_UNAVAILABLE");
    fake = await FakeApiServer.start();
  });

  test("asks reviews", async () => {
    fake.reviews.set("tokenreviews", (spec) => ({ authenticated: true, asked: spec }));
    const answer = await api.review<{ readonly status: unknown }>({
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      spec: { token: "t" },
    });
    expect(answer.status).toEqual({ authenticated: true, asked: { token: "t" } });
  });
});
