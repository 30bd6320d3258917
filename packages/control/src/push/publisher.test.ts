import type { DeltaXdsServer, ServedResource } from "@hairpin/shared/xds";
import { ManualClock } from "@hairpin/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import { type MeshModel, buildMeshModel } from "../mesh-model.ts";
import { ObjectCollection } from "../collection/object-collection.ts";
import { aGateway, aNamespace, aPod } from "../testing/objects.ts";
import { testMesh } from "../testdata/render-model.ts";
import type { ClientRole } from "./client-role.ts";
import { Publisher } from "./publisher.ts";
import { waypointTypeUrls } from "./type-urls.ts";

function modelOf(...objects: KubernetesObject[]): MeshModel {
  const collection = new ObjectCollection();
  collection.replaceAll(objects);
  return buildMeshModel(collection.snapshot(), testMesh, {
    acknowledgements: { hasAcknowledged: () => false },
    now: new Date(0),
  });
}

const labelled = aNamespace("shop", { "istio.io/use-waypoint": "w" });
const kind = (typeUrl: string): string => typeUrl.slice(typeUrl.lastIndexOf(".") + 1);

/** Keeps what was published; its one waypoint replica acknowledges when the test says so. */
function fakeServer(): {
  server: DeltaXdsServer<ClientRole>;
  calls: string[];
  acknowledge: () => void;
  retired: string[];
} {
  const calls: string[] = [];
  const retired: string[] = [];
  const listeners = new Set<() => void>();
  let upToDate = true;
  const names = (resources: Iterable<ServedResource>): string => [...resources].map(({ name }) => name).join(",");
  const server = {
    publish: (typeUrl: string, scope: string, resources: Iterable<ServedResource>) => {
      calls.push(`${kind(typeUrl)}@${scope}: ${names(resources)}`);
      if (waypointTypeUrls.includes(typeUrl)) upToDate = false;
    },
    update: (typeUrl: string, scope: string, { removed = [] }: { removed?: Iterable<string> }) =>
      calls.push(`${kind(typeUrl)}@${scope} removed: ${[...removed].join(",")}`),
    retire: (typeUrl: string) => retired.push(typeUrl),
    clients: () => [
      {
        principal: { waypointKey: "shop/w", podUid: "uid-w-1" },
        types: waypointTypeUrls.map((typeUrl) => ({ typeUrl, upToDate })),
      },
    ],
    onAck: (listener: () => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  } as unknown as DeltaXdsServer<ClientRole>;
  const acknowledge = (): void => {
    upToDate = true;
    for (const listener of listeners) listener();
  };
  return { server, calls, acknowledge, retired };
}

describe("Publisher", () => {
  let clock: ManualClock;
  let fake: ReturnType<typeof fakeServer>;
  let publisher: Publisher;
  const publishAndWait = async (model: MeshModel): Promise<void> => {
    const publishing = publisher.publish(model);
    await clock.advance(0);
    fake.acknowledge();
    await clock.advance(0);
    await publishing;
  };
  beforeEach(() => {
    clock = new ManualClock();
    fake = fakeServer();
    publisher = new Publisher({ server: fake.server, clock });
  });

  test("publishes policies, then the waypoint's configuration, and addresses only after the replica acknowledged", async () => {
    const publishing = publisher.publish(modelOf(labelled, aGateway("w", true), aPod("web")));
    await clock.advance(10);
    const beforeAck = fake.calls.map((call) => call.split("@")[0]);
    expect(beforeAck).toEqual(["Authorization", "Waypoint", "Service", "Workload"]);
    fake.acknowledge();
    await publishing;
    expect(fake.calls.at(-1)).toBe("Address@mesh: Kubernetes//Pod/shop/web");
  });

  test("goes on without a replica that does not answer for 50 ms", async () => {
    const publishing = publisher.publish(modelOf(labelled, aGateway("w", true), aPod("web")));
    await clock.advance(0);
    await clock.advance(49);
    expect(fake.calls.some((call) => call.startsWith("Address"))).toBe(false);
    await clock.advance(1);
    await publishing;
    expect(fake.calls.at(-1)).toMatch(/^Address/);
  });

  test("gives a replica that is connected to another replica of control the whole 50 ms", async () => {
    const replica = (name: string): KubernetesObject =>
      aPod(name, { labels: { "gateway.networking.k8s.io/gateway-name": "w" } });
    const publishing = publisher.publish(modelOf(labelled, aGateway("w", true), replica("w-1"), replica("w-2")));
    await clock.advance(0);
    fake.acknowledge();
    await clock.advance(49);
    expect(fake.calls.some((call) => call.startsWith("Address"))).toBe(false);
    await clock.advance(1);
    await publishing;
    expect(fake.calls.at(-1)).toMatch(/^Address/);
  });

  test("does not wait when a waypoint is told nothing new", async () => {
    const model = modelOf(labelled, aGateway("w", true), aPod("web"));
    await publishAndWait(model);
    fake.calls.length = 0;
    await publisher.publish(model);
    expect(fake.calls.at(-1)).toMatch(/^Address/);
  });

  test("lets a waypoint forget what it lost only a second after nobody is sent to it", async () => {
    await publishAndWait(modelOf(labelled, aGateway("w", true), aPod("web")));
    fake.calls.length = 0;
    await publishAndWait(modelOf(labelled, aGateway("w", true)));
    expect(fake.calls).toContain("Workload@shop/w: shop/w/Kubernetes//Pod/shop/web");
    expect(fake.calls).toContain("Address@mesh: ");
    await clock.advance(999);
    expect(fake.calls.some((call) => call.includes("removed"))).toBe(false);
    await clock.advance(1);
    expect(fake.calls.at(-1)).toBe("Workload@shop/w removed: shop/w/Kubernetes//Pod/shop/web");
  });

  test("keeps what came back before it was forgotten", async () => {
    const whole = modelOf(labelled, aGateway("w", true), aPod("web"));
    await publishAndWait(whole);
    await publishAndWait(modelOf(labelled, aGateway("w", true)));
    await clock.advance(500);
    await publishAndWait(whole);
    await clock.advance(5000);
    expect(fake.calls.some((call) => call.includes("removed"))).toBe(false);
  });

  test("empties the replicas of a deleted Gateway after the addresses, and forgets it a minute later", async () => {
    await publishAndWait(modelOf(labelled, aGateway("w", true), aPod("web")));
    fake.calls.length = 0;
    await publishAndWait(modelOf(labelled, aPod("web")));
    expect(fake.calls.slice(-3)).toEqual(["Waypoint@shop/w: ", "Service@shop/w: ", "Workload@shop/w: "]);
    expect(fake.retired).toEqual([]);
    await clock.advance(60_001);
    await publishAndWait(modelOf(labelled, aPod("web")));
    expect(fake.retired).toHaveLength(3);
    publisher.stop();
    expect(clock.pendingTimers).toBe(0);
  });
});
