// Many pods, services and clients. In CI it is small and checks that only what changed is sent; with SCALE_PODS=1000 SCALE_SERVICES=100
// SCALE_CLIENTS=50 it prints what that costs.

import { FakeApiServer, eventually } from "@hairpin/testkit";
import { describe, expect, test } from "vitest";
import type { KubernetesObject, Pod } from "./collection/kubernetes-object.ts";
import { aDenyPolicy, aNamespace, aPod, aServiceObject } from "./testing/objects.ts";
import { TestControl, type TestXdsClient } from "./testing/test-control.ts";

const size = {
  pods: Number(process.env["SCALE_PODS"] ?? 100),
  services: Number(process.env["SCALE_SERVICES"] ?? 10),
  clients: Number(process.env["SCALE_CLIENTS"] ?? 4),
};

const address = (index: number): string => `10.${1 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
const podOf = (index: number, ready = true): Pod =>
  aPod(`pod-${index}`, {
    ip: address(index),
    node: `node-${index % size.clients}`,
    labels: { app: `app-${index % size.services}` },
    ready,
  });
const agentOf = (index: number): Pod =>
  aPod(`ztunnel-${index}`, {
    namespace: "istio-system",
    serviceAccount: "ztunnel",
    node: `node-${index}`,
    ip: address(60_000 + index),
    captured: false,
  });
const objects = (): KubernetesObject[] => [
  aNamespace("shop"),
  aNamespace("istio-system"),
  ...Array.from({ length: size.services }, (_, index) => aServiceObject(`app-${index}`, address(50_000 + index))),
  ...Array.from({ length: size.pods }, (_, index) => podOf(index)),
  ...Array.from({ length: size.clients }, (_, index) => agentOf(index)),
];

describe("control with many clients", () => {
  test("brings all clients in step, and sends them only what changed", { timeout: 300_000 }, async () => {
    const figures: Record<string, string> = {};
    const timed = async (what: string, work: () => Promise<void>): Promise<void> => {
      const begin = performance.now();
      await work();
      figures[what] = `${(performance.now() - begin).toFixed(0)} ms`;
    };
    const heap = (what: string): void => {
      globalThis.gc?.();
      const { heapUsed, rss } = process.memoryUsage();
      figures[what] = `heap ${(heapUsed / 1e6).toFixed(0)} MB, rss ${(rss / 1e6).toFixed(0)} MB`;
    };
    await using fake = await FakeApiServer.start();
    fake.put(...objects());
    heap("before");
    let control: TestControl | undefined;
    await timed("start, list, first model", async () => {
      control = await TestControl.startInCluster(fake, "a");
    });
    if (control === undefined) throw new Error("It did not start");
    heap("synced");
    const clients: TestXdsClient[] = [];
    const everywhere = async (check: (client: TestXdsClient) => void): Promise<void> =>
      await eventually(() => clients.forEach(check), { timeoutMs: 60_000, intervalMs: 2 });
    const resources = size.pods + size.services + size.clients;
    await timed(`${size.clients} clients connect and get ${resources} resources each`, async () => {
      for (let index = 0; index < size.clients; index++) clients.push(await control!.connect(agentOf(index)));
      await everywhere(({ held }) => expect(held.addresses.size).toBe(resources));
    });
    heap("connected, with the clients' copies");
    for (const { held } of clients) held.log.length = 0;

    await timed("one pod becomes unready, until all clients know", async () => {
      fake.put(podOf(0, false));
      await everywhere(({ held }) => expect(held.log).toEqual(["Address +Kubernetes//Pod/shop/pod-0 -"]));
    });
    await timed("a policy for one service's pods, until all clients know", async () => {
      fake.put(aDenyPolicy("deny", "app-1"));
      await everywhere(({ held }) => expect(held.authorizations.size).toBe(1));
    });
    for (const { held } of clients) held.log.length = 0;
    await timed("100 pods go, until all clients know", async () => {
      for (let index = 0; index < Math.min(100, size.pods); index++) fake.remove("Pod", "shop", `pod-${index}`);
      await everywhere(({ held }) => expect(held.addresses.size).toBe(resources - Math.min(100, size.pods)));
    });
    if (size.pods >= 1000) {
      const metrics = await (await fetch(`http://127.0.0.1:${control.running.ports.metrics}/metrics`)).text();
      const read = (suffix: string): number =>
        Number(new RegExp(`hairpin_control_recompute_milliseconds_${suffix} ([\\d.]+)`).exec(metrics)?.[1]);
      figures["recomputations"] = `${read("count")}, mean ${(read("sum") / read("count")).toFixed(1)} ms`;
      console.table(figures);
    }
    for (const client of clients) await client[Symbol.asyncDispose]();
    await control[Symbol.asyncDispose]();
  });
});
