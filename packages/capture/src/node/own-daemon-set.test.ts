import { createKubernetesApi } from "@hairpin/shared/kubernetes";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { eventually, FakeApiServer } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OwnDaemonSet } from "./own-daemon-set.ts";

const place = { namespace: "istio-system", name: "agent" };
const daemonSet = (metadata: object = {}) => ({
  apiVersion: "apps/v1",
  kind: "DaemonSet",
  metadata: { ...place, ...metadata },
});

describe("OwnDaemonSet", () => {
  let fake: FakeApiServer;
  let own: OwnDaemonSet;
  let told: number;

  beforeEach(async () => {
    fake = await FakeApiServer.start();
    const connection = { server: new URL(fake.address), requestOptions: async () => ({}) };
    const api = createKubernetesApi({ connection, clock: systemClock });
    told = 0;
    own = new OwnDaemonSet({ api, clock: systemClock, logger: noLogger, onDeleted: () => told++ }, place);
    fake.put(daemonSet());
    await own.start();
    await eventually(() => expect(fake.watchesOf("DaemonSet")).toBe(1));
  });
  afterEach(async () => {
    await own.stop();
    await fake[Symbol.asyncDispose]();
  });

  it("tells once that it has been deleted", async () => {
    expect(await own.isDeleted()).toBe(false);
    fake.remove("DaemonSet", place.namespace, place.name);
    await eventually(() => expect(told).toBe(1));
    expect(await own.isDeleted()).toBe(true);
    expect(told).toBe(1);
  });

  it("tells when it is being deleted, its pods first", async () => {
    fake.put(daemonSet({ deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["foregroundDeletion"] }));
    await eventually(() => expect(told).toBe(1));
  });

  it("does not take pods that shall stay for uninstalled", async () => {
    fake.put(daemonSet({ deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["orphan"] }));
    fake.remove("DaemonSet", place.namespace, place.name);
    fake.put(daemonSet({ name: "other" }));
    await eventually(() => expect(fake.requests.length).toBeGreaterThan(1));
    expect(told).toBe(0);
  });

  it("finds out at the end what the watch has not told", async () => {
    fake.silenceWatches();
    fake.remove("DaemonSet", place.namespace, place.name);
    expect(told).toBe(0);
    expect(await own.isDeleted()).toBe(true);
  });

  it("does not take lost rights for a deletion", async () => {
    fake.fail({ verb: "get", kind: "DaemonSet" }, { status: 403, reason: "Forbidden" });
    expect(await own.isDeleted()).toBe(false);
  });
});
