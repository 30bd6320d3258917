import { noLogger } from "@hairpin/shared/telemetry";
import { FakeApiServer, ManualClock, eventually } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fakeApiOf } from "../testing/fake-api.ts";
import { LeaseElection } from "./lease-election.ts";

interface Lease {
  readonly holderIdentity?: string;
  readonly leaseTransitions?: number;
}

describe("LeaseElection", () => {
  let fake: FakeApiServer;
  let clock: ManualClock;
  const elections: LeaseElection[] = [];
  const stopped = new Set<LeaseElection>();
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    clock = new ManualClock();
  });
  afterEach(async () => {
    for (const election of elections.splice(0)) await election.stop();
    await fake[Symbol.asyncDispose]();
  });

  const candidate = async (identity: string): Promise<LeaseElection> => {
    // A clock that stands still for requests: only the election's own waits are moved by hand.
    const election = new LeaseElection(
      { api: fakeApiOf(fake), clock, logger: noLogger },
      { namespace: "istio-system", name: "leader", identity },
    );
    elections.push(election);
    await election.start();
    return election;
  };
  const lease = (): Lease => fake.find("Lease", "istio-system", "leader")?.["spec"] ?? {};
  const requests = (verb: string): number => fake.requests.filter((request) => request.verb === verb).length;
  /** Each running election has a wait, a leading one also a deadline; until then requests are under way. */
  const idle = async (): Promise<void> =>
    await eventually(() => {
      const running = elections.filter((election) => !stopped.has(election));
      expect(clock.pendingTimers).toBe(running.length + running.filter(({ leading }) => leading).length);
    });
  /** Moves the clock a step at a time, so that renewals get their turn. */
  const pass = async (ms: number): Promise<void> => {
    await idle();
    for (let passed = 0; passed < ms; passed += 500) {
      await clock.advance(500);
      await idle();
    }
  };

  test("elects one of two, and the other when the first gives the lease back", async () => {
    const first = await candidate("a");
    await eventually(() => expect(first.leading).toBe(true));
    const second = await candidate("b");
    await pass(30_000);
    expect([first.leading, second.leading]).toEqual([true, false]);
    const changes: boolean[] = [];
    second.onChange(() => changes.push(second.leading));
    await first.stop();
    stopped.add(first);
    expect(lease().holderIdentity).toBe("");
    await pass(3_000);
    expect([first.leading, second.leading, changes]).toEqual([false, true, [true]]);
    expect(lease()).toMatchObject({ holderIdentity: "b", leaseTransitions: 1 });
  });

  test("a leader that cannot renew stops leading before another may take over", async () => {
    const first = await candidate("a");
    await eventually(() => expect(first.leading).toBe(true));
    const changes: boolean[] = [];
    first.onChange(() => changes.push(first.leading));
    fake.fail({ kind: "Lease" }, { status: 500 }, 1000);
    await pass(9_000);
    expect(first.leading).toBe(true);
    await pass(3_000);
    expect([first.leading, changes]).toEqual([false, [false]]);
    fake.heal();
    await pass(3_000);
    expect(first.leading).toBe(true);
  });

  test("takes over a lease whose holder died, but not before it is stale", async () => {
    const holder = { holderIdentity: "dead", leaseTransitions: 4, renewTime: "2020-01-01T00:00:00.000000Z" };
    fake.put({
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { namespace: "istio-system", name: "leader" },
      spec: holder,
    });
    const election = await candidate("a");
    // Its date says nothing: clocks differ. It has to stand still for 15 s.
    await pass(14_000);
    expect(election.leading).toBe(false);
    await pass(6_000);
    expect(election.leading).toBe(true);
    expect(lease()).toMatchObject({ holderIdentity: "a", leaseTransitions: 5 });
  });

  test("two that try at the same moment come to one leader", async () => {
    const [first, second] = await Promise.all([candidate("a"), candidate("b")]);
    await pass(6_000);
    expect([first.leading, second.leading].filter(Boolean)).toHaveLength(1);
    expect(requests("create")).toBeLessThanOrEqual(2);
  });
});
