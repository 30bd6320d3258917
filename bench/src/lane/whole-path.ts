// client → ztunnel → waypoint → ztunnel → application: all of Hairpin, addressed by a Service.
import { applicationPortList, applicationPortRange } from "../arena/arena.ts";
import { meshNamespace, meshPod, waypointObjects } from "../arena/manifests.ts";
import { serviceRange } from "../arena/network.ts";
import { createEnds } from "./application.ts";
import type { Lane } from "./lane.ts";
import {
  checkEngine,
  type HairpinRuntime,
  hairpinZtunnel,
  partCommand,
  startZtunnel,
  whenReady,
} from "./ztunnel-program.ts";

export function wholePathLane(runtime: HairpinRuntime): Lane {
  const id = `whole-${runtime.engine}`;
  const namespace = `bench-${id}`;
  const [nodeA, nodeB] = [`${id}-a`, `${id}-b`];
  return {
    id,
    title: `client → ztunnel → waypoint → ztunnel → pod, ${runtime.engine === "libssl" ? "libssl" : "node:tls"}`,
    kind: "http",
    async start(arena) {
      const ends = await createEnds(arena);
      const { lane } = ends;
      const [hostA, hostB] = [await arena.host(lane, "node-a", 11), await arena.host(lane, "node-b", 12)];
      const waypointHost = await arena.host(lane, "waypoint", 3);
      const captured = { namespace, captured: true };
      const client = meshPod({ ...captured, name: "client", serviceAccount: "client", node: nodeA, host: ends.client });
      const server = meshPod({ ...captured, name: "server", serviceAccount: "server", node: nodeB, host: ends.server });
      const waypointPod = meshPod({
        namespace,
        name: "waypoint-1",
        serviceAccount: "waypoint",
        node: nodeB,
        host: waypointHost,
        labels: { "gateway.networking.k8s.io/gateway-name": "waypoint", "istio.io/dataplane-mode": "none" },
      });
      const serverIp = `${serviceRange}.${lane}.1`;
      await arena.applyPods(
        namespace,
        [client, server, waypointPod],
        [
          ...meshNamespace(namespace),
          ...waypointObjects({
            namespace,
            serverIp,
            waypointIp: `${serviceRange}.${lane}.2`,
            ports: applicationPortList,
          }),
        ],
      );
      const control = await arena.control();
      const ztunnel = await hairpinZtunnel(arena, runtime);
      const a = await startZtunnel(arena, nodeA, hostA, ztunnel);
      const b = await startZtunnel(arena, nodeB, hostB, ztunnel);
      const waypoint = arena.start({
        name: `waypoint ${id}`,
        host: waypointHost,
        command: await partCommand(arena, "waypoint", runtime),
        environment: {
          ...(await control.environmentOf(waypointPod)),
          WAYPOINT_NAME: "waypoint",
          TLS_ENGINE: runtime.engine,
        },
      });
      await a.agent.capture(client, a.ztunnel);
      await b.agent.capture(server, b.ztunnel);
      await whenReady(waypointHost, waypoint);
      for (const host of [hostA, hostB, waypointHost]) await checkEngine(host, runtime.engine);
      return {
        client: ends.client,
        target: { ip: serverIp, ports: applicationPortRange },
        proxies: [a.ztunnel, waypoint, b.ztunnel],
        programs: [ends.application, a.ztunnel, b.ztunnel, waypoint],
      };
    },
  };
}
