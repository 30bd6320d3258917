import type { DeltaXdsServer } from "@hairpin/shared/xds";
import { beforeEach, describe, expect, test } from "vitest";
import { ObjectCollection } from "../collection/object-collection.ts";
import { aGateway, aPod } from "../testing/objects.ts";
import type { ClientRole } from "./client-role.ts";
import { waypointTypeUrls } from "./type-urls.ts";
import { WaypointReadiness } from "./waypoint-readiness.ts";

interface FakeClient {
  readonly podUid: string;
  readonly upToDate: boolean;
}

describe("WaypointReadiness", () => {
  let clients: readonly FakeClient[];
  let changed: () => void;
  let changes: number;
  let readiness: WaypointReadiness;
  beforeEach(() => {
    clients = [];
    changes = 0;
    const server = {
      clients: () =>
        clients.map(({ podUid, upToDate }) => ({
          principal: { waypointKey: "shop/w", podUid },
          types: waypointTypeUrls.map((typeUrl) => ({
            typeUrl,
            upToDate,
            ackedVersion: () => (upToDate ? "1" : undefined),
          })),
        })),
      onAck: () => () => {},
      onClientsChanged: (listener: () => void) => {
        changed = listener;
        return () => {};
      },
    } as unknown as DeltaXdsServer<ClientRole>;
    readiness = new WaypointReadiness(server);
    readiness.watch(() => changes++);
  });

  function connect(...now: readonly FakeClient[]): void {
    clients = now;
    changed();
  }

  function hasAcknowledged({ gateway = "w", ready = true } = {}): boolean {
    const objects = new ObjectCollection();
    const labels = { "gateway.networking.k8s.io/gateway-name": gateway };
    objects.replaceAll([aGateway("w", true), aPod("w-1", { labels, ready })]);
    return readiness.over(objects.snapshot()).hasAcknowledged("shop/w", "uid-w");
  }

  test("waits for the acknowledgement of a replica that is connected here", () => {
    connect({ podUid: "uid-w-1", upToDate: false });
    expect(hasAcknowledged()).toBe(false);
    connect({ podUid: "uid-w-1", upToDate: true });
    expect(hasAcknowledged()).toBe(true);
    expect(hasAcknowledged({ ready: false })).toBe(false);
  });

  test("takes a replica that another replica of control serves by its readiness", () => {
    expect(hasAcknowledged({ ready: false })).toBe(false);
    expect(hasAcknowledged()).toBe(true);
  });

  test("takes no pod of another Gateway for a replica", () => {
    expect(hasAcknowledged({ gateway: "other" })).toBe(false);
  });

  test("tells when a replica comes here or goes, acknowledged or not", () => {
    connect({ podUid: "uid-w-1", upToDate: false });
    connect({ podUid: "uid-w-1", upToDate: false });
    expect(changes).toBe(1);
    connect();
    expect(changes).toBe(2);
  });
});
