// The daemon: init of the mesh's namespaces, and everything that a cluster's control plane and nodes would do around the mesh.

import { existsSync, mkdirSync, readFileSync, readlinkSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { openNetns, peerCredentials, socketFd } from "@hairpin/native";
import type { Logger } from "@hairpin/shared/telemetry";
import { startCapture } from "../capture/start-capture.ts";
import { ControllerLoop } from "../controller/controller-loop.ts";
import type { Planner } from "../controller/planner.ts";
import { planDaemonSets } from "../controller/plan-daemon-sets.ts";
import { planDeployments, planReplicaSets } from "../controller/plan-deployments.ts";
import { planEndpointSlices } from "../controller/plan-endpoint-slices.ts";
import { planGarbage } from "../controller/plan-garbage.ts";
import { planNamespaces } from "../controller/plan-namespaces.ts";
import { planSchedule } from "../controller/plan-schedule.ts";
import { createRootCertificatePlanner } from "../controller/plan-root-certificates.ts";
import { planServiceAccounts } from "../controller/plan-service-accounts.ts";
import { createServicePlanner } from "../controller/plan-services.ts";
import { createWaypointPlanner } from "../controller/plan-waypoints.ts";
import { clusterDnsIp } from "../fabric/address-plan.ts";
import { Fabric } from "../fabric/fabric.ts";
import { runCommand } from "../fabric/run-command.ts";
import { Kubelet } from "../kubelet/kubelet.ts";
import type { PodHooks, PodServices } from "../kubelet/pod-services.ts";
import { createProbeAction } from "../kubelet/probe-action.ts";
import { TokenIssuer } from "../kubelet/token-issuer.ts";
import { meshObjects, tokenKeyFile } from "../part/mesh-objects.ts";
import { projectRoot } from "../part/mesh-part-pod.ts";
import { createPartFinder, type PartPaths } from "../part/part-runtime.ts";
import { RootCertificate } from "../part/root-certificate.ts";
import { ObjectApplier } from "../store/apply-objects.ts";
import { ObjectStore } from "../store/object-store.ts";
import { StatusWriter } from "../store/object-status.ts";
import { StoreServer } from "../store/store-server.ts";
import type { DaemonConfig } from "./daemon-config.ts";
import { initialObjects } from "./initial-objects.ts";
import type { Lifeline } from "./lifeline.ts";
import { NodeServices } from "./node-services.ts";
import { podRoutes } from "./pod-routes.ts";
import { startSandbox } from "./sandbox.ts";

/** Builds the mesh and serves it. Nothing has to be released when this fails: the namespaces end with the process. */
export async function startDaemon(config: DaemonConfig, lifeline: Lifeline, logger: Logger): Promise<void> {
  const run = join(config.stateDirectory, "run");
  const netnsDirectory = join(config.stateDirectory, "netns");

  lifeline.report({ type: "step", text: "preparing the pods' file system" });
  await mountPrivate(run);
  const sandbox = await startSandbox(run, config.writableHost);
  for (const path of sandbox.writableMounts) lifeline.report({ type: "warning", text: `pods can write to ${path}` });
  // After the sandbox, which must not hold the namespaces of pods that are gone.
  await mountPrivate(netnsDirectory);

  lifeline.report({ type: "step", text: `building the network: a bridge and ${config.nodeCount} nodes` });
  const fabric = new Fabric({ netnsDirectory, nodeCount: config.nodeCount, ranges: config.ranges });
  await fabric.start();

  const store = new ObjectStore();
  const statusWriter = new StatusWriter(store);
  const paths: PartPaths = {
    control: join(run, "control"),
    storeSocket: join(config.stateDirectory, "store.sock"),
    zds: join(run, "zds"),
  };
  const tokenIssuer = new TokenIssuer();
  mkdirSync(paths.control, { recursive: true, mode: 0o700 });
  writeFileSync(join(paths.control, tokenKeyFile), tokenIssuer.publicKeyPem, { mode: 0o600 });
  const rootCertificate = new RootCertificate(paths.control, () => controllers.poke());

  for (const object of initialObjects(config, fabric)) store.create(object);
  const planners: readonly Planner[] = [
    planNamespaces,
    planServiceAccounts,
    planDeployments,
    planReplicaSets,
    planDaemonSets,
    planSchedule,
    createServicePlanner(config.ranges),
    createWaypointPlanner({ config, user: waypointUser() }),
    createRootCertificatePlanner(() => rootCertificate.pem),
    planEndpointSlices,
    planGarbage,
  ];
  const controllers = new ControllerLoop(store, statusWriter, planners, logger.child("controller"));
  controllers.start();
  await new NodeServices(store, fabric, config, logger.child("node")).start();

  const hooks = config.meshParts
    ? await startCapture({ store, fabric, zdsFolder: paths.zds, meshNamespace: config.rootNamespace, logger })
    : noCapture;
  const kubelet = new Kubelet(
    kubeletServices(config, {
      store,
      statusWriter,
      fabric,
      hooks,
      tokenIssuer,
      partOf: createPartFinder(config.rootNamespace, paths),
      sandboxPid: sandbox.pid,
      run,
      logger,
    }),
  );
  const server = new StoreServer({
    store,
    applier: new ObjectApplier(store),
    statusWriter,
    isAllowedPeer: (socket) => peerCredentials(socketFd(socket)).uid === process.getuid?.(),
    routes: podRoutes(store, kubelet, config.rootNamespace),
  });
  await server.listen(paths.storeSocket);
  kubelet.start();
  if (config.meshParts) {
    lifeline.report({ type: "step", text: "starting control and ztunnel" });
    rootCertificate.start();
    for (const object of meshObjects(config)) store.create(object);
  }
  lifeline.report({ type: "serving" });
}

const noCapture: PodHooks = { beforeStart: async () => {}, afterStop: async () => {} };

interface KubeletParts {
  readonly store: ObjectStore;
  readonly statusWriter: StatusWriter;
  readonly fabric: Fabric;
  readonly hooks: PodHooks;
  readonly tokenIssuer: TokenIssuer;
  readonly partOf: PodServices["partOf"];
  readonly sandboxPid: number;
  readonly run: string;
  readonly logger: Logger;
}

function kubeletServices(config: DaemonConfig, parts: KubeletParts): PodServices {
  const { store, statusWriter, fabric, hooks, tokenIssuer, partOf, sandboxPid, run } = parts;
  const nodeNetns = new Map(fabric.nodes.map((node) => [node.name, openNetns(node.netnsPath)]));
  return {
    store,
    statusWriter,
    fabric,
    sandboxPid,
    hooks,
    tokenIssuer,
    partOf,
    directories: { pods: join(run, "pods"), logs: join(run, "logs") },
    nodePath: process.execPath,
    resolvConfTarget: realFile("/etc/resolv.conf"),
    hiddenPaths: [config.stateDirectory],
    canChangeUser: hasManyUsers(),
    clusterDomain: config.clusterDomain,
    clusterDnsIps: config.ranges.map((ranges) => clusterDnsIp(ranges)),
    probeAction: (node, podIp) => {
      const netns = nodeNetns.get(node.name);
      return netns === undefined ? async () => false : createProbeAction(netns, podIp);
    },
    logger: parts.logger.child("kubelet"),
  };
}

/** A file system in memory that only this mesh sees and that is gone with it. */
async function mountPrivate(path: string): Promise<void> {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  await runCommand(["mount", "-t", "tmpfs", "-o", "mode=0700,nosuid,nodev", "tmpfs", path]);
}

/** Where a path leads, also when the last link points nowhere. */
function realFile(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  try {
    return resolve(dirname(path), readlinkSync(path));
  } catch {
    return path;
  }
}

/** Without root the user namespace maps one user, and there is nobody else to become. */
function hasManyUsers(): boolean {
  const mapped = readFileSync("/proc/self/uid_map", "utf8").trim().split(/\s+/);
  return Number(mapped[2] ?? 1) > nobodyUid;
}

const nobodyUid = 65_534;

/** Istio's user of waypoints, unless only the owner can read this project's files; then the mesh's own, without privileges. */
function waypointUser(): number {
  const isReadable = (statSync(join(projectRoot, "packages/waypoint/src/main.ts")).mode & 0o004) !== 0;
  return isReadable ? 1337 : 0;
}
