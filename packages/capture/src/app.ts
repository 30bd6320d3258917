// Assembles the agent; reads as the list of its parts.
import { rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { hasCode } from "@hairpin/native";
import { createServerComponent } from "@hairpin/shared/agent";
import {
  createInClusterConnection,
  createKubernetesApi,
  type KubernetesApi,
  registerWatchMetrics,
} from "@hairpin/shared/kubernetes";
import {
  type Clock,
  type Component,
  errorMessage,
  Readiness,
  type RunningComponents,
  runComponents,
  systemClock,
} from "@hairpin/shared/process";
import {
  type AdminRoutes,
  createLogger,
  type Logger,
  MetricRegistry,
  metricsRoutes,
  registerProcessMetrics,
  version,
} from "@hairpin/shared/telemetry";
import { chooseRuleBackend } from "./choose-rule-backend.ts";
import { AgentServer } from "./cni/agent-server.ts";
import { CniInstaller } from "./cni/cni-installer.ts";
import type { CaptureConfig } from "./config.ts";
import { registerCaptureMetrics } from "./metrics.ts";
import { NodeCapture } from "./node/capture-actions.ts";
import { CaptureLoop } from "./node/capture-loop.ts";
import { CniRequests } from "./node/cni-requests.ts";
import { type HostProc, hostProc } from "./node/host-proc.ts";
import { NodeObjects } from "./node/node-objects.ts";
import { OwnDaemonSet } from "./node/own-daemon-set.ts";
import { PodCapture } from "./node/pod-capture.ts";
import { PodEvents } from "./node/pod-events.ts";
import type { RuleBackend } from "./rule-backend.ts";
import { ZdsServer } from "./zds-server.ts";

export interface CaptureComponents {
  readonly api: KubernetesApi;
  readonly rules: RuleBackend;
  readonly host: HostProc;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** An agent put together and not started. */
export interface CaptureAgent {
  /** In the order in which they start. */
  readonly components: readonly Component[];
  readonly readiness: Readiness;
  /** What happens every minute. Never rejects. */
  reconcile(): Promise<void>;
  /** Takes back everything on the node if the agent's DaemonSet was deleted; else leaves it to the next agent. Never rejects. */
  shutdown(): Promise<void>;
}

/** Puts an agent together. */
export function createCapture(
  config: CaptureConfig,
  { api, rules, host, logger, clock }: CaptureComponents,
): CaptureAgent {
  const readiness = new Readiness();
  const tasks = { pods: readiness.task("pods"), cni: readiness.task("cni plugin") };
  const metrics = new MetricRegistry();
  registerProcessMetrics(metrics);
  const watching = { api, clock, logger: logger.child("kubernetes"), metrics: registerWatchMetrics(metrics) };

  const objects = new NodeObjects(watching, { ...config.rule, nodeName: config.nodeName });
  const zds = new ZdsServer(config.zdsSocket, logger.child("zds"), clock, () => capture.retry());
  const node = new NodeCapture({ zds, rules }, { ...config, hostNetnsPath: host.netnsPath });
  const events = new PodEvents({ api, clock, logger }, config.nodeName);
  const counts = registerCaptureMetrics(metrics, {
    capturedPods: () => capture.capturedCount,
    ztunnels: () => zds.ztunnelCount,
  });
  const capture = new PodCapture({
    pods: objects,
    actions: node,
    clock,
    logger: logger.child("capture"),
    observer: {
      onCaptured: (_pod, durationMs) => counts.captured(durationMs),
      onReleased: () => counts.released(),
      onRepaired: () => counts.repaired(),
      onFailed: (pod, error) => {
        counts.failed();
        events.captureFailed(pod, error);
      },
    },
  });
  const loop = new CaptureLoop({ objects, capture, node, zds, events, host, clock, logger }, tasks.pods);
  const requests = new CniRequests({ objects, capture, host, logger: logger.child("cni") });
  const socketPath = join(config.runFolder, "cni.sock");
  const server = new AgentServer(
    socketPath,
    async (request) => {
      const answer = await requests.answer(request);
      counts.cniCall(request.command, answer.outcome);
      return answer;
    },
    logger.child("cni"),
  );
  const installer = new CniInstaller({ clock, logger: logger.child("cni") }, tasks.cni, {
    ...config,
    socketPath,
    host,
  });
  const uninstall = async (): Promise<void> => {
    logger.info("uninstalling: the agent's DaemonSet was deleted");
    objects.leave();
    await installer.uninstall();
    await capture.releaseAll();
    await node.removeHostRules();
    await server.stop();
    zds.stop();
    for (const file of [config.zdsSocket, socketPath]) removeWithFolder(file, host);
  };
  // What is still being installed cannot be taken away.
  const settled = Promise.withResolvers<void>();
  let uninstalling: Promise<void> | undefined;
  const begin = async (): Promise<void> => {
    uninstalling ??= settled.promise.then(uninstall).catch((error: unknown) => {
      logger.error("something of this agent stays on the node", { error: errorMessage(error) });
    });
    await uninstalling;
  };
  const daemonSet =
    config.daemonSet === undefined
      ? undefined
      : new OwnDaemonSet({ ...watching, onDeleted: () => void begin() }, config.daemonSet);
  const place = (port: number) => ({ host: config.listenIp, port });
  return {
    components: [
      createServerComponent("readiness server", place(config.ports.readiness), readyRoutes(readiness), logger, true),
      createServerComponent("metrics server", place(config.ports.metrics), metricsRoutes(metrics), logger, true),
      objects,
      ...(daemonSet === undefined ? [] : [daemonSet]),
      loop,
      server,
      installer,
      { name: "agent", start: async () => settled.resolve(), stop: async () => {} },
    ],
    readiness,
    reconcile: async () => await loop.reconcile(),
    async shutdown() {
      settled.resolve();
      if ((await daemonSet?.isDeleted()) === true) await begin();
    },
  };
}

/** Runs an agent until SIGTERM or SIGINT. */
export async function runCapture(config: CaptureConfig): Promise<RunningComponents> {
  const clock = systemClock;
  const logger = createLogger({ level: config.log.level, format: config.log.format });
  logger.info("starting", { version, config: JSON.stringify(config.described) });
  const host = hostProc(`${config.hostMount}/proc`);
  const rules = await chooseRuleBackend(config.rules, host.netnsPath);
  logger.info("rules are programmed by", { backend: rules.kind });
  const api = createKubernetesApi({ connection: createInClusterConnection({ clock }, config.api), clock });
  const agent = createCapture(config, { api, rules, host, logger, clock });
  const components = await runComponents(agent.components, { logger, onShutdown: async () => await agent.shutdown() });
  void components.stopped.then(() => logger.flush());
  return components;
}

/** The folder is a mount of the container's: on the host it is none, and goes if nothing else is in it. */
function removeWithFolder(file: string, host: HostProc): void {
  rmSync(file, { force: true });
  try {
    rmdirSync(host.pathOf(dirname(file)));
  } catch (error) {
    if (!hasCode(error, "ENOENT", "ENOTEMPTY", "EBUSY")) throw error;
  }
}

/** Istio's paths: the agent is alive while it answers, and ready when pods of this node are looked after. */
function readyRoutes(readiness: Readiness): AdminRoutes {
  return new Map([
    ["GET /healthz", () => ({ body: "ok\n" })],
    [
      "GET /readyz",
      () => {
        const pending = readiness.pendingTasks();
        if (pending.length === 0) return { body: "ready\n" };
        return { status: 503, body: `not ready, pending: ${pending.join(", ")}\n` };
      },
    ],
  ]);
}
