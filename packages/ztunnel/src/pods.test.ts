import { openSync } from "node:fs";
import { netnsFromFd, type NetnsHandle } from "@hairpin/native";
import { MetricRegistry } from "@hairpin/shared/telemetry";
import { describe, expect, it } from "vitest";
import type { PodNetwork } from "./pod-network.ts";
import { registerPodMetrics } from "./pod-metrics.ts";
import { Pods } from "./pods.ts";

const pod = { uid: "uid-1", info: { name: "web", namespace: "ns", serviceAccount: "web" } };

/** Any open file stands for a netns here: only its inode counts. */
const handleOf = (path: string): NetnsHandle => netnsFromFd(openSync(path, "r"));

function harness() {
  const events: string[] = [];
  let failing = false;
  const metrics = new MetricRegistry();
  const network = (): PodNetwork => ({
    canSpoofSource: false,
    listen: async (port) => {
      if (failing) throw Object.assign(new Error(`bind :${port}: EADDRINUSE`), { code: "EADDRINUSE" });
      events.push(`listen ${port}`);
      return {
        address: { address: "::", port, family: "IPv6" },
        acceptErrors: 0,
        close: async () => void events.push(`close ${port}`),
      };
    },
    connect: () => Promise.reject(new Error("not dialled here")),
    bindUdp: () => Promise.reject(new Error("not bound here")),
    hasIpv6: () => false,
    originalDestination: () => ({ ip: "10.0.0.1", port: 1 }),
    close: () => void events.push("network closed"),
  });
  const path = {
    tls: undefined,
    clock: undefined,
    table: { closeAll: () => void events.push("connections closed") },
    logger: { info() {}, warn() {}, error() {}, debug() {} },
  };
  const pods: Pods = new Pods(
    {
      path: path as never,
      onLimit() {},
      metrics: registerPodMetrics(metrics, () => pods.states()),
      createNetwork: (netns) => {
        netns.close();
        return network();
      },
    },
    { ports: { outbound: 1, inboundPlaintext: 2, inbound: 3 }, dialer: { idleReleaseMs: 1 } as never },
  );
  const fail = (value: boolean): void => void (failing = value);
  return { pods, events, fail, metrics };
}

describe("Pods", () => {
  it("listens on three ports of a pod, and gives them back when it is removed", async () => {
    const { pods, events } = harness();
    await pods.add(pod, handleOf("/proc/self/ns/net"));
    expect(events).toEqual(["listen 1", "listen 2", "listen 3"]);
    expect(pods.states()).toEqual(new Map([["uid-1", { state: "Up", info: pod.info }]]));
    await pods.remove("uid-1");
    expect(events.slice(3)).toEqual(["close 1", "close 2", "close 3", "connections closed", "network closed"]);
    expect(pods.uids).toEqual([]);
  });

  it("changes nothing when the same pod comes again in the same netns", async () => {
    const { pods, events } = harness();
    await pods.add(pod, handleOf("/proc/self/ns/net"));
    await pods.add(pod, handleOf("/proc/self/ns/net"));
    expect(events).toEqual(["listen 1", "listen 2", "listen 3"]);
  });

  it("starts anew when the pod comes in another netns", async () => {
    const { pods, events } = harness();
    await pods.add(pod, handleOf("/proc/self/ns/net"));
    await pods.add(pod, handleOf("/proc/self/ns/uts"));
    expect(events).toContain("network closed");
    expect(events.slice(-3)).toEqual(["listen 1", "listen 2", "listen 3"]);
    expect(pods.allUp).toBe(true);
  });

  it("rejects when a port is taken, leaves nothing behind, and can be asked again", async () => {
    const { pods, events, fail } = harness();
    fail(true);
    await expect(pods.add(pod, handleOf("/proc/self/ns/net"))).rejects.toMatchObject({
      code: "POD_LISTENER_FAILED",
      message: "Pod ns/web cannot be served: bind :1: EADDRINUSE",
    });
    expect(events).toEqual(["connections closed", "network closed"]);
    expect(pods.allUp).toBe(false);
    expect(pods.states().get("uid-1")?.state).toBe("Pending");
    fail(false);
    await pods.add(pod, handleOf("/proc/self/ns/net"));
    expect(pods.allUp).toBe(true);
  });

  it("does not mind a pod that it does not know", async () => {
    const { pods } = harness();
    await pods.remove("nobody");
    expect(pods.allUp).toBe(true);
  });

  it("counts pods under ztunnel's names", async () => {
    const { pods, metrics, fail } = harness();
    await pods.add(pod, handleOf("/proc/self/ns/net"));
    fail(true);
    await pods.add({ ...pod, uid: "uid-2" }, handleOf("/proc/self/ns/net")).catch(() => {});
    await pods.remove("uid-1");
    const { body } = await metrics.expose();
    expect(body).toContain("\nworkload_manager_active_proxy_count 0\n");
    expect(body).toContain("\nworkload_manager_pending_proxy_count 1\n");
    expect(body).toContain("\nworkload_manager_proxies_started_total 1\n");
    expect(body).toContain("\nworkload_manager_proxies_stopped_total 1\n");
  });
});
