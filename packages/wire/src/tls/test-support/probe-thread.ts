// What a worker thread of a test runs: handshakes in memory, as many as it is told, then the thread's live native objects.
import { parentPort, workerData } from "node:worker_threads";
import { liveOpensslObjects } from "@hairpin/native";
import { probeLibssl } from "../probe-libssl.ts";

for (let count = 0; count < (workerData as number); count++) probeLibssl();
parentPort?.postMessage(liveOpensslObjects());
