import { noLogger } from "@hairpin/shared/telemetry";
import { ManualClock } from "@hairpin/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import { aServiceObject } from "../testing/objects.ts";
import type { Leadership } from "./leadership.ts";
import { StatusWriter, type StatusWrite } from "./status-writer.ts";
import { type StatusUpdate, condition } from "./status-update.ts";

const service = aServiceObject("web", "10.0.0.1");
const bound = (message: string): StatusUpdate["conditions"][number] =>
  condition("istio.io/WaypointBound", true, "WaypointAccepted", message);
const withStatus = (status: unknown): KubernetesObject => Object.assign({}, service, { status });

describe("StatusWriter", () => {
  let clock: ManualClock;
  let writes: StatusWrite[];
  let failures: number;
  let writer: StatusWriter;
  let leadership: { leading: boolean; onChange: Leadership["onChange"] };
  beforeEach(() => {
    clock = new ManualClock();
    writes = [];
    failures = 0;
    leadership = { leading: true, onChange: () => () => {} };
    const sink = {
      write: async (write: StatusWrite): Promise<void> => {
        writes.push(write);
        if (failures-- > 0) throw new Error("store is away");
      },
    };
    writer = new StatusWriter({ sink, leadership, clock, logger: noLogger });
  });

  test("writes a condition with the generation it was decided for, once", async () => {
    writer.update([{ object: service, conditions: [bound("a")] }]);
    writer.update([{ object: service, conditions: [bound("a")] }]);
    await writer.whenIdle();
    expect(writes).toEqual([
      expect.objectContaining({
        kind: "Service",
        namespace: "shop",
        name: "web",
        manager: "control",
        conditions: [{ ...bound("a"), observedGeneration: 1 }],
      }),
    ]);
  });

  test("writes nothing that the object already says", async () => {
    const object = withStatus({ conditions: [{ ...bound("a"), observedGeneration: 1, lastTransitionTime: "x" }] });
    writer.update([{ object, conditions: [bound("a")] }]);
    await writer.whenIdle();
    expect(writes).toEqual([]);
  });

  test("takes back a condition of its own that no longer holds, and leaves others' alone", async () => {
    const object = withStatus({ conditions: [{ ...bound("a"), observedGeneration: 1 }] });
    writer.update([{ object, conditions: [] }]);
    writer.update([
      { object: withStatus({ conditions: [{ type: "LoadBalancerReady", status: "True" }] }), conditions: [] },
    ]);
    await writer.whenIdle();
    expect(writes.map(({ conditions }) => conditions)).toEqual([[]]);
  });

  test("puts together what several builders say of one object", async () => {
    const other = condition("hairpin.mesh/Readable", false, "Invalid", "b");
    writer.update([
      { object: service, conditions: [bound("a")] },
      { object: service, conditions: [other], merge: { parents: [] } },
    ]);
    await writer.whenIdle();
    expect(writes).toHaveLength(1);
    expect(writes[0]?.conditions.map(({ type }) => type)).toEqual(["istio.io/WaypointBound", "hairpin.mesh/Readable"]);
  });

  test("tries again until the store is back", async () => {
    failures = 2;
    writer.update([{ object: service, conditions: [bound("a")] }]);
    await clock.advance(0);
    await clock.advance(50);
    await clock.advance(200);
    await writer.whenIdle();
    expect(writes).toHaveLength(3);
  });

  test("gives up an old status for a newer one of the same object", async () => {
    failures = 1;
    writer.update([{ object: service, conditions: [bound("old")] }]);
    await clock.advance(0);
    writer.update([{ object: service, conditions: [bound("new")] }]);
    await clock.advance(1000);
    await writer.whenIdle();
    expect(writes.map(({ conditions }) => conditions[0]?.message)).toEqual(["old", "new"]);
  });

  test("writes nothing without the lead, and everything once it has it", async () => {
    leadership.leading = false;
    writer.update([{ object: service, conditions: [bound("a")] }]);
    await writer.whenIdle();
    expect(writes).toEqual([]);
    leadership.leading = true;
    writer.update([{ object: service, conditions: [bound("a")] }]);
    await writer.whenIdle();
    expect(writes).toHaveLength(1);
  });

  test("gives up a retry when the lead is lost", async () => {
    failures = Infinity;
    writer.update([{ object: service, conditions: [bound("a")] }]);
    await clock.advance(0);
    leadership.leading = false;
    await clock.advance(10_000);
    await writer.whenIdle();
    expect(writes).toHaveLength(1);
  });

  test("stops while a write is being retried", async () => {
    failures = Infinity;
    writer.update([{ object: service, conditions: [bound("a")] }]);
    await clock.advance(0);
    await writer.stop();
    expect(writes).toHaveLength(1);
  });
});
