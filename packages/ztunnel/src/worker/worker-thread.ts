import { getHeapStatistics } from "node:v8";
import { Worker } from "node:worker_threads";
import { errorCode, errorMessage } from "@hairpin/shared/process";
import { ZtunnelError } from "../response-flag.ts";
import { CallChannel } from "./call-channel.ts";
import type { MainMethods, WorkerFailure, WorkerMethods, WorkerStart } from "./messages.ts";

/** Bundled for the image, the thread's program is a file beside the bundle (scripts/build-bundle.ts). */
const entry = new URL(import.meta.url.endsWith(".ts") ? "./main.ts" : "./ztunnel-worker.mjs", import.meta.url);

const mebibyte = 1024 * 1024;
/** Data-plane work makes little garbage, and a small nursery keeps the process small. */
const youngHeapMib = 16;

/** Why a worker's thread ended. */
export interface WorkerEnd {
  readonly reason: string;
  readonly stack: string | undefined;
}

/** A running worker, as main sees it. */
export interface WorkerThread {
  /** From 1; a restarted worker keeps its number. */
  readonly number: number;
  readonly calls: CallChannel<WorkerMethods>;
  /** False once the thread has ended, or is about to by an error of its own. */
  readonly alive: boolean;
  /** Settles when the thread has ended: its sockets are closed then. Never rejects. */
  readonly whenGone: Promise<WorkerEnd>;
  /** Ends the thread at once, wherever it is: inside a call of native code that aborts the process. Ask it to `stop` first. */
  terminate(): void;
}

/** What main does for one worker. */
export interface WorkerServices {
  readonly methods: Omit<MainMethods, "fail">;
  /** The worker's last words, before {@link WorkerThread.whenGone}. */
  readonly onFailure: (failure: WorkerFailure) => void;
}

/**
 * Starts a thread that runs `main.ts`. Its heap may grow as far as main's own (`--max-old-space-size` counts for both); a thread
 * that needs more ends with `ERR_WORKER_OUT_OF_MEMORY`, and the process lives on.
 */
export function startWorkerThread(number: number, start: WorkerStart, services: WorkerServices): WorkerThread {
  const thread = new Worker(entry, {
    name: `data-plane-${number}`,
    workerData: start,
    resourceLimits: {
      maxOldGenerationSizeMb: Math.floor(getHeapStatistics().heap_size_limit / mebibyte),
      maxYoungGenerationSizeMb: youngHeapMib,
    },
  });
  let end: WorkerEnd | undefined;
  let alive = true;
  const mine: MainMethods = {
    ...services.methods,
    fail(failure) {
      alive = false;
      end = { reason: failure.error, stack: failure.stack };
      services.onFailure(failure);
    },
  };
  const calls = new CallChannel<WorkerMethods>(thread, mine);
  const gone = Promise.withResolvers<WorkerEnd>();
  // What ends the thread without a word of its own: it cannot be loaded, or it has no memory left.
  thread.on("error", (error) => {
    end ??= {
      reason: `${errorMessage(error)} (${errorCode(error)})`,
      stack: error instanceof Error ? error.stack : "",
    };
  });
  thread.on("exit", (code) => {
    alive = false;
    end ??= { reason: `it exited with code ${code}`, stack: undefined };
    const message = `Data-plane worker ${number} has ended: ${end.reason}`;
    calls.close(new ZtunnelError(message, { code: "WORKER_GONE", origin: "internal" }));
    gone.resolve(end);
  });
  return {
    number,
    calls,
    get alive() {
      return alive;
    },
    whenGone: gone.promise,
    terminate: () => void thread.terminate(),
  };
}
