import { once } from "node:events";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import type { CertificateClientsTask } from "../testing/certificate-clients.ts";
import { aPod } from "../testing/objects.ts";
import { TestControl } from "../testing/test-control.ts";

const requests = 500;
/** Of the loop's own work. How late timers are besides depends on who else uses the processor, and is only told. */
const turnLimitMs = 50;
const nodeAgents = 10;

/** The most processor time that this thread used in one turn of its event loop. */
class TurnMeter {
  longestMs = 0;
  #isRunning = true;

  constructor() {
    let before = process.threadCpuUsage();
    const turn = (): void => {
      const { user, system } = process.threadCpuUsage(before);
      this.longestMs = Math.max(this.longestMs, (user + system) / 1000);
      before = process.threadCpuUsage();
      if (this.#isRunning) setImmediate(turn);
    };
    setImmediate(turn);
  }

  stop(): void {
    this.#isRunning = false;
  }
}

describe("the certificate service under load", () => {
  test(`answers ${requests} requests at once without stalling the event loop`, async () => {
    const agents = Array.from({ length: nodeAgents }, (_, index) =>
      aPod(`ztunnel-${index}`, { namespace: "istio-system", serviceAccount: "ztunnel" }),
    );
    await using control = await TestControl.start([...agents, aPod("web", { serviceAccount: "web" })]);
    const task: CertificateClientsTask = {
      port: control.running.ports.secureXds,
      rootPem: control.running.rootBundlePem,
      tokens: await Promise.all(agents.map((agent) => control.tokenOf(agent))),
      impersonate: "spiffe://cluster.local/ns/shop/sa/web",
    };
    const clients = new Worker(new URL("../testing/certificate-clients.ts", import.meta.url), { workerData: task });
    const ask = async (count: number): Promise<number> => {
      clients.postMessage(count);
      const [answered] = (await once(clients, "message")) as [number];
      return answered;
    };
    // Connections and code are warm before it counts.
    for (let round = 0; round < 10; round++) expect(await ask(nodeAgents)).toBe(nodeAgents);
    const delays = monitorEventLoopDelay({ resolution: 1 });
    const begin = performance.now();
    delays.enable();
    const turns = new TurnMeter();
    expect(await ask(requests)).toBe(requests);
    delays.disable();
    turns.stop();
    const tookMs = Math.round(performance.now() - begin);
    await clients.terminate();
    const [worstMs, p99Ms] = [delays.max / 1e6, delays.percentile(99) / 1e6].map((ms) => ms.toFixed(1));
    const longest = turns.longestMs.toFixed(1);
    console.info(
      `${requests} certificates in ${tookMs} ms; longest turn ${longest} ms; loop delay ${worstMs} ms at most, p99 ${p99Ms} ms`,
    );
    expect(turns.longestMs).toBeLessThan(turnLimitMs);
  }, 60_000);
});
