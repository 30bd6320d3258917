// What a data-plane worker thread runs.
import { parentPort, workerData } from "node:worker_threads";
import type { WorkerStart } from "./messages.ts";
import { serveWorker } from "./serve-worker.ts";

if (!parentPort) throw new Error("This file is run by a worker thread");
serveWorker(parentPort, workerData as WorkerStart);
