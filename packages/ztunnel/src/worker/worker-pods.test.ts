import { existsSync, openSync } from "node:fs";
import { netnsFromFd, type NetnsHandle } from "@hairpin/native";
import { MeshError } from "@hairpin/shared/process";
import { createLogger, MetricRegistry } from "@hairpin/shared/telemetry";
import { eventually, ManualClock } from "@hairpin/testkit";
import { describe, expect, it } from "vitest";
import { registerPodMetrics } from "../pod-metrics.ts";
import type { PodRequest } from "./messages.ts";
import { type PodWorker, WorkerPods } from "./worker-pods.ts";

const pod = { uid: "uid-1", info: { name: "web", namespace: "ns", serviceAccount: "web" } };

/** Any open file stands for a netns here: only its inode counts. */
const openHandle = (path = "/proc/self/ns/net"): NetnsHandle => netnsFromFd(openSync(path, "r"));
const isOpen = (handle: NetnsHandle): boolean => existsSync(`/proc/self/fd/${handle.fd}`);

/** A worker whose answers the test gives. */
class FakeWorker {
  readonly number: number;
  alive = true;
  failing = false;
  readonly log: string[] = [];
  /** Undefined: answers at once. */
  held: PromiseWithResolvers<void>[] | undefined;
  readonly calls = { call: (method: string, argument: unknown) => this.#answer(method, argument) };

  constructor(number: number) {
    this.number = number;
  }

  get worker(): PodWorker {
    return this as unknown as PodWorker;
  }

  end(): void {
    this.alive = false;
    for (const { reject } of this.held ?? []) reject(new Error("the worker has ended"));
  }

  async #answer(method: string, argument: unknown): Promise<void> {
    this.log.push(method === "addPod" ? `add ${(argument as PodRequest).pod.uid}` : `remove ${String(argument)}`);
    if (!this.alive) throw new Error("the worker has ended");
    if (method === "removePod") return;
    if (this.held) {
      const answer = Promise.withResolvers<void>();
      this.held.push(answer);
      await answer.promise;
    }
    if (this.failing)
      throw new MeshError("Pod ns/web cannot be served", { code: "POD_LISTENER_FAILED", origin: "internal" });
  }
}

function harness(count = 2) {
  const workers = Array.from({ length: count }, (_, index) => new FakeWorker(index + 1));
  const clock = new ManualClock();
  const registry = new MetricRegistry();
  const lines: string[] = [];
  let serving = Promise.resolve(workers);
  const pods: WorkerPods = new WorkerPods({
    whenServing: async () => (await serving).map(({ worker }) => worker),
    metrics: registerPodMetrics(registry, () => pods.states()),
    clock,
    logger: createLogger({ destination: { write: (line) => lines.push(line), flush() {} } }),
  });
  const serveBy = (next: Promise<FakeWorker[]>): void => void (serving = next);
  return { pods, workers, clock, registry, lines, serveBy };
}

describe("WorkerPods", () => {
  it("has a pod served once every worker listens, and keeps its netns open until every worker gave it up", async () => {
    const { pods, workers } = harness();
    const [one, two] = workers;
    two!.held = [];
    const handle = openHandle();
    let done = false;
    const added = pods.add(pod, handle).then(() => (done = true));
    await eventually(() => expect(two?.log).toEqual(["add uid-1"]));
    expect(done).toBe(false);
    two?.held?.[0]?.resolve();
    await added;
    expect(pods.states()).toEqual(new Map([["uid-1", { state: "Up", info: pod.info }]]));
    expect(isOpen(handle)).toBe(true);
    await pods.remove("uid-1");
    expect([one?.log, two?.log]).toEqual([
      ["add uid-1", "remove uid-1"],
      ["add uid-1", "remove uid-1"],
    ]);
    expect(isOpen(handle)).toBe(false);
    expect(pods.uids).toEqual([]);
  });

  it("serves a pod nowhere when one worker cannot, says why, and can be asked again", async () => {
    const { pods, workers } = harness();
    const [one, two] = workers;
    two!.failing = true;
    const handle = openHandle();
    await expect(pods.add(pod, handle)).rejects.toMatchObject({ code: "POD_LISTENER_FAILED" });
    expect([one?.log.at(-1), two?.log.at(-1)]).toEqual(["remove uid-1", "remove uid-1"]);
    expect(isOpen(handle)).toBe(false);
    expect(pods.states().get("uid-1")?.state).toBe("Pending");
    two!.failing = false;
    await pods.add(pod, openHandle());
    expect(pods.allUp).toBe(true);
    pods.close();
  });

  it("changes nothing for the same netns, and begins anew for another", async () => {
    const { pods, workers } = harness(1);
    await pods.add(pod, openHandle());
    const again = openHandle();
    await pods.add(pod, again);
    expect(isOpen(again)).toBe(false);
    await pods.add(pod, openHandle("/proc/self/ns/uts"));
    expect(workers[0]?.log).toEqual(["add uid-1", "remove uid-1", "add uid-1"]);
    pods.close();
  });

  it("does not wait for a worker that ends, as long as another listens", async () => {
    const { pods, workers } = harness();
    workers[1]!.held = [];
    const added = pods.add(pod, openHandle());
    await eventually(() => expect(workers[1]?.log).toHaveLength(1));
    workers[1]?.end();
    pods.lost(workers[1]!.worker);
    await added;
    expect(pods.allUp).toBe(true);
    pods.close();
  });

  it("waits for a worker when the only one ends meanwhile", async () => {
    const { pods, workers, serveBy } = harness(1);
    const [one] = workers;
    one!.held = [];
    const added = pods.add(pod, openHandle());
    await eventually(() => expect(one?.log).toHaveLength(1));
    const next = Promise.withResolvers<FakeWorker[]>();
    serveBy(next.promise);
    one?.end();
    pods.lost(one!.worker);
    const successor = new FakeWorker(1);
    await pods.listenOn(successor.worker);
    next.resolve([successor]);
    await added;
    expect(successor.log).toEqual(["add uid-1"]);
    expect(pods.allUp).toBe(true);
    pods.close();
  });

  it("gives a worker that begins all pods, and tries again what it could not serve", async () => {
    const { pods, clock, lines } = harness(1);
    await pods.add(pod, openHandle());
    const late = new FakeWorker(2);
    late.failing = true;
    await pods.listenOn(late.worker);
    expect(lines.join("")).toContain('pod is not served by a worker\tpod="ns/web" worker=2');
    late.failing = false;
    await clock.advance(5000);
    await eventually(() => expect(late.log).toEqual(["add uid-1", "add uid-1"]));
    pods.close();
  });

  it("shows pods as pending while no worker listens", async () => {
    const { pods, workers, registry } = harness(1);
    await pods.add(pod, openHandle());
    pods.lost(workers[0]!.worker);
    expect(pods.allUp).toBe(false);
    const { body } = await registry.expose();
    expect(body).toContain("\nworkload_manager_pending_proxy_count 1\n");
    expect(body).toContain("\nworkload_manager_proxies_started_total 1\n");
    pods.close();
  });

  it("leaves no handle open when there will be no worker any more", async () => {
    const { pods, serveBy } = harness(1);
    serveBy(Promise.reject(new Error("the data plane has ended")));
    const handle = openHandle();
    await expect(pods.add(pod, handle)).rejects.toThrow("the data plane has ended");
    expect(isOpen(handle)).toBe(false);
  });
});
