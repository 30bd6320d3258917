import { describe, expect, it, vi } from "vitest";
import type { Container, Probe } from "../object/kubernetes-object.ts";
import { ContainerProbes } from "./container-probes.ts";

const quick: Probe = { periodSeconds: 0.01, failureThreshold: 2, tcpSocket: { port: "web" } };

/** Probes whose network answers are the test's to give. */
function startProbes(container: Partial<Container>) {
  const slot = {
    container: { name: "main", ports: [{ name: "web", containerPort: 8080 }], ...container },
    isRunning: true,
    ready: false,
    started: false,
  };
  const asked: Probe[] = [];
  const state = { isGood: true };
  const onFailed = vi.fn<() => void>();
  const probes = new ContainerProbes(slot, {
    network: async (probe) => {
      asked.push(probe);
      return state.isGood;
    },
    exec: async (command) => command[0] === "good",
    onChange: () => {},
    onFailed,
  });
  return { slot, asked, state, onFailed, probes };
}

describe("ContainerProbes", () => {
  it("take a container without probes for started and ready", () => {
    const { slot } = startProbes({});
    expect(slot).toMatchObject({ started: true, ready: true });
  });

  it("make it ready and unready as the answers change, asking the number of a named port", async () => {
    const { slot, asked, state, probes } = startProbes({ readinessProbe: quick });
    expect(slot.ready).toBe(false);
    await vi.waitFor(() => expect(slot.ready).toBe(true));
    expect(asked[0]?.tcpSocket?.port).toBe(8080);
    state.isGood = false;
    await vi.waitFor(() => expect(slot.ready).toBe(false));
    probes.stop();
  });

  it("wait for the startup probe before they ask anything else", async () => {
    const { slot, state, asked, probes } = startProbes({
      startupProbe: { ...quick, failureThreshold: 1000 },
      readinessProbe: quick,
    });
    state.isGood = false;
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(2));
    expect(slot).toMatchObject({ started: false, ready: false });
    state.isGood = true;
    await vi.waitFor(() => expect(slot).toMatchObject({ started: true, ready: true }));
    probes.stop();
  });

  it("end a container whose liveness fails often enough", async () => {
    const { onFailed, probes } = startProbes({ livenessProbe: { ...quick, exec: { command: ["bad"] } } });
    await vi.waitFor(() => expect(onFailed).toHaveBeenCalled());
    probes.stop();
  });
});
