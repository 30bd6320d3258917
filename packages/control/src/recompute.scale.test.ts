// What a change costs control's event loop. In CI it is small and checks only that the change arrives; SCALE_PODS=10000
// SCALE_SERVICES=1000 SCALE_NAMESPACES=100 SCALE_CHANGES=40 prints CPU and turns of the loop for each kind of change.

import { systemClock } from "@hairpin/shared/process";
import { MetricRegistry, noLogger } from "@hairpin/shared/telemetry";
import { createDeltaXdsServer } from "@hairpin/shared/xds";
import { eventually } from "@hairpin/testkit";
import { describe, expect, test } from "vitest";
import type { EndpointSlice, Gateway, KubernetesObject, Pod } from "./collection/kubernetes-object.ts";
import { ObjectCollection } from "./collection/object-collection.ts";
import { MeshLoop } from "./mesh-loop.ts";
import { type ClientRole, impliedNames, scopeOf } from "./push/client-role.ts";
import { Publisher } from "./push/publisher.ts";
import { meshScope, pushOrder, typeUrls } from "./push/type-urls.ts";
import { WaypointReadiness } from "./push/waypoint-readiness.ts";
import { StatusWriter } from "./status/status-writer.ts";
import { aDenyPolicy, aGateway, aNamespace, aPod, aServiceObject } from "./testing/objects.ts";
import { testMesh } from "./testdata/render-model.ts";

const size = {
  pods: Number(process.env["SCALE_PODS"] ?? 60),
  services: Number(process.env["SCALE_SERVICES"] ?? 6),
  namespaces: Number(process.env["SCALE_NAMESPACES"] ?? 3),
  changes: Number(process.env["SCALE_CHANGES"] ?? 2),
};
/** Control rests for as long as it was busy, which is long only in a large mesh. */
const quietMs = size.pods >= 1000 ? 700 : 60;
/** Every fifth namespace has a waypoint. */
const waypointEvery = 5;

const address = (index: number): string => `10.${1 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
const namespaceOf = (index: number): string => `ns-${index % size.namespaces}`;
const inNamespace = <T extends KubernetesObject>(object: T, namespace: string): T => ({
  ...object,
  metadata: { ...object.metadata, namespace },
});
/** Pod `i` serves service `i` modulo their number; both are in namespace `i` modulo theirs. */
const podOf = (index: number, ready = true): Pod =>
  aPod(`pod-${index}`, {
    namespace: namespaceOf(index % size.services),
    ip: address(index),
    node: `node-${index % 100}`,
    labels: { app: `app-${index % size.services}` },
    ready,
  });
const serviceOf = (index: number, port = 80): KubernetesObject => {
  const service = aServiceObject(`app-${index}`, address(60_000 + index));
  const ports = [{ name: "http", port, targetPort: 8080 }];
  return inNamespace({ ...service, spec: { ...service.spec, ports } }, namespaceOf(index));
};
const policyOf = (index: number, app = index): KubernetesObject =>
  inNamespace(aDenyPolicy(`deny-${index}`, `app-${app}`), namespaceOf(index));
const sliceOf = (index: number, port: number): EndpointSlice => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  addressType: "IPv4",
  metadata: {
    name: `app-${index}-1`,
    namespace: namespaceOf(index),
    labels: { "kubernetes.io/service-name": `app-${index}` },
  },
  ports: [{ name: "http", port }],
  endpoints: [{ addresses: [address(index)], targetRef: { kind: "Pod", name: `pod-${index}` } }],
});
const waypointOf = (index: number): Gateway => inNamespace(aGateway("waypoint", true), `ns-${index}`);

function listObjects(): KubernetesObject[] {
  const each = <T>(count: number, build: (index: number) => T): T[] =>
    Array.from({ length: count }, (_, at) => build(at));
  return [
    ...each(size.namespaces, (index) => {
      const labels = index % waypointEvery === 0 ? { "istio.io/use-waypoint": "waypoint" } : {};
      return aNamespace(`ns-${index}`, labels);
    }),
    ...each(Math.ceil(size.namespaces / waypointEvery), (index) => waypointOf(index * waypointEvery)),
    ...each(size.services, (index) => serviceOf(index)),
    ...each(size.services, (index) => sliceOf(index, 8080)),
    ...each(Math.ceil(size.services / 5), (index) => policyOf(index)),
    ...each(size.pods, (index) => podOf(index)),
  ];
}

/** Kinds of changes; `round` makes each differ from the one before. */
const changes: Readonly<Record<string, (round: number) => KubernetesObject>> = {
  pod: (round) => podOf(1, round % 2 === 1),
  policy: (round) => policyOf(1, round % 2),
  service: (round) => serviceOf(1, 81 + round),
  EndpointSlice: (round) => sliceOf(1, 8081 + round),
};

describe("a change in a large mesh", () => {
  test("reaches the xDS server without holding up the event loop", { timeout: 600_000 }, async () => {
    const objects = new ObjectCollection();
    const server = createDeltaXdsServer<ClientRole>(
      { clock: systemClock, logger: noLogger },
      { typeUrls: pushOrder, authenticate: () => Promise.reject(new Error("nobody")), scopeOf, impliedNames },
    );
    const metrics = new MetricRegistry();
    const leadership = { leading: true, onChange: () => () => {} };
    const statuses = { sink: { write: async () => {} }, leadership, clock: systemClock, logger: noLogger };
    const loop = new MeshLoop(
      {
        objects,
        publisher: new Publisher({ server, clock: systemClock }),
        readiness: new WaypointReadiness(server),
        statuses: new StatusWriter(statuses),
        leadership,
        clock: systemClock,
        metrics,
        logger: noLogger,
      },
      testMesh,
    );
    await loop.start();
    const turns = new TurnMeter();
    const figures: Record<string, Record<string, number>> = {};
    objects.replaceAll(listObjects());
    await loop.whenPublished();
    await turns.quiet();
    figures["all of it, at first"] = turns.take(1);

    const version = (): string | undefined =>
      server.versionOf(typeUrls.address, meshScope, `Kubernetes//Pod/${namespaceOf(1)}/pod-1`);
    const first = version();
    for (const [kind, change] of Object.entries(changes)) {
      for (let round = 0; round < size.changes; round++) {
        objects.put(change(round));
        await turns.quiet();
      }
      figures[`${kind} changes`] = turns.take(size.changes);
    }
    objects.put(podOf(1, false));
    await eventually(() => expect(version()).not.toBe(first));
    if (size.pods >= 1000) console.table(figures);
    await turns[Symbol.asyncDispose]();
    await loop.stop();
  });
});

/** CPU of the main thread by turn of the event loop: what others on a loaded machine do does not count. */
class TurnMeter {
  readonly #turns: number[] = [];
  #last = cpuMs();
  #idle = 0;
  #running = true;
  readonly #ended = Promise.withResolvers<void>();

  constructor() {
    this.#turn();
  }

  /** Resolves when nothing was done for {@link quietMs}: longer than anything that control waits for. */
  async quiet(): Promise<void> {
    this.#idle = performance.now();
    await eventually(() => expect(performance.now() - this.#idle).toBeGreaterThan(quietMs), { timeoutMs: 300_000 });
  }

  /** Milliseconds since the last time. Turns below 1 ms are the waiting, and not counted. */
  take(count: number): Record<string, number> {
    const turns = this.#turns.splice(0).sort((a, b) => a - b);
    const at = (share: number): number => Math.round((turns[Math.floor((turns.length - 1) * share)] ?? 0) * 10) / 10;
    const sum = turns.reduce((total, turn) => total + turn, 0);
    return {
      "CPU a change": Math.round((sum / count) * 10) / 10,
      "turn p50": at(0.5),
      "turn p99": at(0.99),
      longest: at(1),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running = false;
    await this.#ended.promise;
  }

  #turn(): void {
    const now = cpuMs();
    const spent = now - this.#last;
    this.#last = now;
    if (spent >= 1) {
      this.#turns.push(spent);
      this.#idle = performance.now();
    }
    if (this.#running) setTimeout(() => this.#turn(), 1);
    else this.#ended.resolve();
  }
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
