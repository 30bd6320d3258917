import { setTimeout as after } from "node:timers/promises";
import { openNetns } from "@hairpin/native";
import { MeshState } from "@hairpin/shared/discovery";
import { errorMessage, systemClock } from "@hairpin/shared/process";
import { createLogger, MetricRegistry } from "@hairpin/shared/telemetry";
import { ZtunnelError } from "../response-flag.ts";
import { ThreadDataPlane } from "../thread-data-plane.ts";
import { CallChannel, type CallPort } from "./call-channel.ts";
import type { MainMethods, WorkerMethods, WorkerStart } from "./messages.ts";
import { createPostedLog } from "./posted-log.ts";
import { registerThreadMetrics } from "./thread-metrics.ts";
import { RemoteCertificates } from "./remote-certificates.ts";

/** How long a worker that ends may take to end its connections and to write their log lines. */
const lastWordsMs = 500;

/**
 * A data plane that does what main asks for (`WorkerMethods`). An uncaught error ends this thread: its connections are reset,
 * so that no peer takes what it got for the whole, and main is told why.
 */
export function serveWorker(port: CallPort, { number, config, logLevels }: WorkerStart): void {
  const clock = systemClock;
  const metrics = new MetricRegistry();
  registerThreadMetrics(metrics, number);
  const mesh = new MeshState({ clock }, { clusterId: config.clusterId });
  const store = new RemoteCertificates((identity) => main.call("fetchCertificate", identity), clock);
  const log = createPostedLog({ clock, write: (batch) => main.call("writeLog", batch) });
  const logger = createLogger({ level: logLevels, format: config.log.format, destination: log });
  const dataPlane = new ThreadDataPlane(config, { mesh, store, clock, logger, metrics });
  const methods: WorkerMethods = {
    applyMesh(update) {
      try {
        mesh.applyUpdate(update);
      } catch (error) {
        // Half of an update is no mesh to decide by.
        void fail(error);
        throw error;
      }
    },
    serve: () => dataPlane.serve(),
    // A descriptor opened here is closed by Node when this thread ends, whatever ends it.
    addPod: ({ pod, netnsFd }) => dataPlane.pods.add(pod, openNetns(`/proc/self/fd/${netnsFd}`)),
    removePod: (uid) => dataPlane.pods.remove(uid),
    connections: () => dataPlane.connections(),
    takeMetrics: () => metrics.takeChanges(),
    renewCertificate: (certificate) => store.renewed(certificate),
    setLogLevels: (directive) => logger.levels.replace(directive),
    drain: (deadlineMs) => dataPlane.drain(deadlineMs),
    async stop() {
      await end(dataPlane.stop());
      // By itself, not by main: a thread that is ended inside a call of native code takes the process with it.
      setImmediate(() => process.exit());
    },
  };
  const main = new CallChannel<MainMethods>(port, methods);
  const end = async (stopped: Promise<void>): Promise<void> => {
    await Promise.race([stopped.then(() => dataPlane.whenIdle()), after(lastWordsMs)]).catch(() => {});
    log.flush();
  };
  let failing = false;
  const fail = async (cause: unknown): Promise<void> => {
    // A second error while the first is told: enough.
    if (failing) process.exit(1);
    failing = true;
    const message = "connection closed: its thread failed";
    const error = new ZtunnelError(message, { code: "CONNECTION_WORKER_FAILED", origin: "internal" });
    await end(dataPlane.abort(error));
    const stack = cause instanceof Error ? cause.stack : undefined;
    main.post("fail", { error: errorMessage(cause), stack, metrics: metrics.takeChanges() });
    process.exit(1);
  };
  process.on("uncaughtException", (error) => void fail(error));
  void dataPlane.start();
}
