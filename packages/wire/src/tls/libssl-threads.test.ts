import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { probeLibssl } from "./probe-libssl.ts";

const program = new URL("test-support/probe-thread.ts", import.meta.url);
const freed = { contexts: 0, connections: 0, temporaries: 0 };

describe("libssl in worker threads", () => {
  it("shakes hands in several threads at once, each with contexts and a callback of its own", async () => {
    const workers = Array.from({ length: 4 }, () => new Worker(program, { workerData: 100 }));
    const results = Promise.all(workers.map((worker) => once(worker, "message")));
    for (let count = 0; count < 100; count++) {
      probeLibssl();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await results).toEqual(Array.from({ length: 4 }, () => [freed]));
    await Promise.all(workers.map((worker) => worker.terminate()));
  }, 60_000);

  it("goes on in the other threads when one is ended in the middle of a handshake, again and again", async () => {
    for (let round = 0; round < 20; round++) {
      const doomed = new Worker(program, { workerData: 1_000_000 });
      await once(doomed, "online");
      for (let count = 0; count <= round; count++) probeLibssl();
      await doomed.terminate();
    }
    const last = new Worker(program, { workerData: 1 });
    expect(await once(last, "message")).toEqual([freed]);
    await last.terminate();
  }, 60_000);
});
