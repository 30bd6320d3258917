import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FakeApiServer } from "./server.ts";

interface Answer {
  readonly status: number;
  readonly body: {
    readonly metadata?: {
      readonly resourceVersion?: string;
      readonly continue?: string;
      readonly managedFields?: readonly { readonly manager: string; readonly subresource?: string }[];
    };
    readonly items?: readonly { readonly metadata: { readonly name: string } }[];
    readonly reason?: string;
    readonly message?: string;
    readonly [field: string]: unknown;
  };
}

const configMap = (name: string, data: Record<string, string> = {}): Record<string, unknown> => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "shop" },
  data,
});

describe("FakeApiServer", () => {
  let fake: FakeApiServer;
  beforeEach(async () => {
    fake = await FakeApiServer.start();
  });
  afterEach(async () => {
    await fake[Symbol.asyncDispose]();
  });

  const call = async (
    method: string,
    path: string,
    body?: unknown,
    contentType = "application/json",
  ): Promise<Answer> => {
    const response = await fetch(`${fake.address}${path}`, {
      method,
      headers: { "content-type": contentType },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Answer["body"] };
  };
  const apply = async (manager: string, object: unknown, options = ""): Promise<Answer> =>
    await call(
      "PATCH",
      `/api/v1/namespaces/shop/${options.includes("status") ? "pods/p/status" : "configmaps/c"}?fieldManager=${manager}${options.includes("force") ? "&force=true" : ""}`,
      object,
      "application/apply-patch+yaml",
    );
  const path = "/api/v1/namespaces/shop/configmaps";

  test("lists by pages from one moment, and forgets the rest when history is compacted", async () => {
    for (const name of ["a", "b", "c"]) fake.put(configMap(name));
    const first = await call("GET", `${path}?limit=2`);
    fake.put(configMap("later"));
    const token = first.body.metadata?.continue ?? "";
    const second = await call("GET", `${path}?limit=2&continue=${token}`);
    expect(first.body.items?.map(({ metadata }) => metadata.name)).toEqual(["a", "b"]);
    expect(second.body.items?.map(({ metadata }) => metadata.name)).toEqual(["c"]);
    expect(second.body.metadata?.resourceVersion).toBe(first.body.metadata?.resourceVersion);
    fake.compact();
    expect(await call("GET", `${path}?limit=2&continue=${token}`)).toMatchObject({
      status: 410,
      body: { reason: "Expired" },
    });
  });

  test("selects by labels and fields", async () => {
    fake.put({ ...configMap("a"), metadata: { name: "a", namespace: "shop", labels: { tier: "db" } } }, configMap("b"));
    const names = async (query: string): Promise<unknown> =>
      (await call("GET", `/api/v1/configmaps?${query}`)).body.items?.map(({ metadata }) => metadata.name);
    expect(await names("labelSelector=tier%3Ddb")).toEqual(["a"]);
    expect(await names("labelSelector=!tier")).toEqual(["b"]);
    expect(await names("fieldSelector=metadata.name%3Db")).toEqual(["b"]);
    expect(await names("fieldSelector=metadata.name!%3Db")).toEqual(["a"]);
  });

  test("refuses a second object of a name, and a write to a version that is gone", async () => {
    const created = await call("POST", path, configMap("a"));
    expect(created.status).toBe(201);
    expect(await call("POST", path, configMap("a"))).toMatchObject({ status: 409, body: { reason: "AlreadyExists" } });
    const old = { ...configMap("a", { k: "v" }), metadata: { name: "a", namespace: "shop", resourceVersion: "1" } };
    expect(await call("PUT", `${path}/a`, old)).toMatchObject({ status: 409, body: { reason: "Conflict" } });
  });

  test("applies: one owner a field, others conflict or take it by force, and what is left out goes", async () => {
    await apply("one", configMap("c", { a: "1", b: "1" }));
    expect(await apply("two", configMap("c", { a: "2", c: "2" }))).toMatchObject({ status: 409 });
    expect((await apply("two", configMap("c", { a: "2", c: "2" }), "force")).body["data"]).toEqual({
      a: "2",
      b: "1",
      c: "2",
    });
    // `a` is two's now: it stays although one no longer gives it; `b` was one's alone.
    expect((await apply("one", configMap("c", {}))).body["data"]).toEqual({ a: "2", c: "2" });
    const before = fake.store.revision;
    await apply("two", configMap("c", { a: "2", c: "2" }), "force");
    expect(fake.store.revision).toBe(before);
  });

  test("merges conditions by type, each with its owner, apart from the object itself", async () => {
    fake.put({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "p", namespace: "shop" },
      spec: { nodeName: "n" },
      status: { conditions: [{ type: "Ready", status: "True" }] },
    });
    const pod = (...types: string[]): unknown => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "p", namespace: "shop" },
      spec: { nodeName: "ignored" },
      status: { conditions: types.map((type) => ({ type, status: "False" })) },
    });
    const types = (answer: Answer): unknown =>
      (answer.body["status"] as { conditions: { type: string }[] }).conditions.map(({ type }) => type);
    const first = await apply("hairpin", pod("X", "Y"), "status");
    expect(types(first)).toEqual(["Ready", "X", "Y"]);
    expect(types(await apply("hairpin", pod("Y"), "status"))).toEqual(["Ready", "Y"]);
    expect(types(await apply("hairpin", pod(), "status"))).toEqual(["Ready"]);
    expect(fake.find("Pod", "shop", "p")?.["spec"]).toEqual({ nodeName: "n" });
    expect(await apply("hairpin", pod("Ready"), "status")).toMatchObject({ status: 409 });
    expect(first.body.metadata?.managedFields?.find(({ manager }) => manager === "hairpin")?.subresource).toBe(
      "status",
    );
  });

  test("counts a generation for a new spec only", async () => {
    const gateway = (spec: unknown, status: unknown): object => ({
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "Gateway",
      metadata: { name: "g", namespace: "shop" },
      spec,
      status,
    });
    const generation = (): unknown => fake.find("Gateway", "shop", "g")?.metadata.generation;
    fake.put(gateway({ a: 1 }, {}));
    fake.put(gateway({ a: 1 }, { addresses: [] }));
    expect(generation()).toBe(1);
    fake.put(gateway({ a: 2 }, { addresses: [] }));
    expect(generation()).toBe(2);
  });

  test("answers reviews by the test's hook", async () => {
    fake.reviews.set("tokenreviews", (spec) => ({ authenticated: (spec as { token: string }).token === "good" }));
    const ask = async (token: string): Promise<unknown> =>
      (await call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", { spec: { token } })).body["status"];
    expect(await ask("good")).toEqual({ authenticated: true });
    expect(await ask("bad")).toEqual({ authenticated: false });
  });

  test("serves no kind that is not installed", async () => {
    fake.stopServing("TCPRoute");
    expect((await call("GET", "/apis/gateway.networking.k8s.io/v1alpha2/tcproutes")).status).toBe(404);
    expect((await call("GET", "/apis/gateway.networking.k8s.io/v1alpha2")).status).toBe(404);
    expect((await call("GET", "/apis/gateway.networking.k8s.io")).status).toBe(200);
  });
});
