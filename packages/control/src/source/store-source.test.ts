import { mkdtemp, rm } from "node:fs/promises";
import { type Server, type ServerResponse, createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { eventually } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import { ObjectCollection } from "../collection/object-collection.ts";
import { aPod } from "../testing/objects.ts";
import { StoreSource } from "./store-source.ts";

/** A store whose events the test sends itself. */
class FakeStore {
  readonly watches: ServerResponse[] = [];
  readonly #server: Server = createServer((request, response) => {
    response.writeHead(request.url === "/v1/watch" ? 200 : 404);
    response.flushHeaders();
    this.watches.push(response);
  });

  async listen(path: string): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(path, resolve));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  send(type: string, object?: KubernetesObject): void {
    this.watches.at(-1)?.write(`${JSON.stringify({ type, object })}\n`);
  }
}

describe("StoreSource", () => {
  let folder: string;
  let store: FakeStore;
  let objects: ObjectCollection;
  let source: StoreSource;
  const names = (): string[] =>
    objects
      .snapshot()
      .list("Pod")
      .map(({ metadata }) => metadata.name);

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hairpin-store-"));
    const socketPath = join(folder, "store.sock");
    store = new FakeStore();
    await store.listen(socketPath);
    objects = new ObjectCollection();
    source = new StoreSource({ objects, clock: systemClock, logger: noLogger }, { socketPath });
    await source.start();
    await eventually(() => expect(store.watches).toHaveLength(1));
  });

  afterEach(async () => {
    await source.stop();
    await store.close();
    await rm(folder, { recursive: true });
  });

  test("shows nothing before the whole listing arrived, then follows every change", async () => {
    store.send("ADDED", aPod("a"));
    store.send("ADDED", aPod("b"));
    store.send("SYNCED");
    await eventually(() => expect(names()).toEqual(["a", "b"]));
    store.send("ADDED", aPod("c"));
    store.send("DELETED", aPod("a"));
    store.send("MODIFIED", aPod("b", { ip: "10.9.9.9" }));
    await eventually(() => expect(names()).toEqual(["b", "c"]));
    await eventually(() => expect(objects.snapshot().find("Pod", "shop", "b")?.status?.podIP).toBe("10.9.9.9"));
  });

  test("keeps what it has while the store is away, and loses what is missing when it is back", async () => {
    store.send("ADDED", aPod("kept"));
    store.send("ADDED", aPod("lost"));
    store.send("SYNCED");
    await eventually(() => expect(names()).toEqual(["kept", "lost"]));
    store.watches[0]?.destroy();
    await eventually(() => expect(store.watches).toHaveLength(2));
    store.send("ADDED", aPod("kept"));
    store.send("ADDED", aPod("new"));
    expect(names()).toEqual(["kept", "lost"]);
    store.send("SYNCED");
    await eventually(() => expect(names()).toEqual(["kept", "new"]));
  });

  test.each([
    ["is not JSON", "{"],
    ["is an object without a name", JSON.stringify({ type: "ADDED", object: { apiVersion: "v1", kind: "Pod" } })],
  ])("starts the watch over after a line that %s", async (_, line) => {
    store.watches[0]?.write(`${line}\n`);
    await eventually(() => expect(store.watches).toHaveLength(2));
    store.send("ADDED", aPod("a"));
    store.send("SYNCED");
    await eventually(() => expect(names()).toEqual(["a"]));
  });
});
