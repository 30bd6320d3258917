import { createKubernetesApi } from "@hairpin/shared/kubernetes";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { eventually, FakeApiServer, ManualClock } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { nodePod } from "../testing/node-pods.ts";
import { PodEvents } from "./pod-events.ts";

describe("PodEvents", () => {
  let fake: FakeApiServer;
  let clock: ManualClock;
  let events: PodEvents;
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    clock = new ManualClock();
    const connection = { server: new URL(fake.address), requestOptions: async () => ({}) };
    const api = createKubernetesApi({ connection, clock: systemClock });
    events = new PodEvents({ api, clock, logger: noLogger }, "node-1");
  });
  afterEach(async () => await fake[Symbol.asyncDispose]());

  const written = () => fake.store.list(fake.servedKind("Event"));

  it("tells a pod's users why it is not captured", async () => {
    events.captureFailed(nodePod("a"), new Error("no ztunnel is connected"));
    const [event] = await eventually(() => {
      expect(written()).toHaveLength(1);
      return written();
    });
    expect(event).toMatchObject({
      metadata: { namespace: "shop" },
      type: "Warning",
      reason: "CaptureFailed",
      message: "The pod is not captured by the mesh yet: no ztunnel is connected",
      involvedObject: { kind: "Pod", name: "a", namespace: "shop", uid: "uid-a" },
      source: { host: "node-1" },
    });
  });

  it("does not repeat itself within ten minutes", async () => {
    events.captureFailed(nodePod("a"), new Error("one"));
    events.captureFailed(nodePod("a"), new Error("one"));
    await clock.advance(1);
    events.captureFailed(nodePod("a"), new Error("other"));
    await eventually(() => expect(written()).toHaveLength(2));
    await clock.advance(600_000);
    events.captureFailed(nodePod("a"), new Error("one"));
    await eventually(() => expect(written()).toHaveLength(3));
  });
});
