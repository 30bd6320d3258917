// The probes of one run of a container, and what follows from their verdicts.

import type { Container, Probe } from "../object/kubernetes-object.ts";
import { type ProbeAction, ProbeLoop } from "./probe-runner.ts";

export interface ProbedContainer {
  readonly container: Container;
  readonly isRunning: boolean;
  ready: boolean;
  started: boolean;
}

export interface ContainerProbesOptions {
  /** Probes over the network. */
  readonly network: ProbeAction;
  /** Runs a program in the container; resolves whether it succeeded. */
  readonly exec: (command: readonly string[], timeoutMs: number) => Promise<boolean>;
  /** Readiness has changed. */
  readonly onChange: () => void;
  /** The container must end: its liveness or startup probe failed. */
  readonly onFailed: () => void;
}

/** Begins with the startup probe, if there is one; readiness and liveness follow once the container has started. */
export class ContainerProbes {
  readonly #slot: ProbedContainer;
  readonly #options: ContainerProbesOptions;
  readonly #loops: ProbeLoop[] = [];

  constructor(slot: ProbedContainer, options: ContainerProbesOptions) {
    this.#slot = slot;
    this.#options = options;
    const { startupProbe } = slot.container;
    if (startupProbe === undefined) this.#begin();
    else this.#awaitStart(startupProbe);
  }

  stop(): void {
    for (const loop of this.#loops) loop.stop();
  }

  #awaitStart(probe: Probe): void {
    const loop = this.#loop(probe, false, (verdict) => {
      loop.stop();
      if (verdict === "fail") {
        this.#options.onFailed();
        return;
      }
      this.#begin();
      this.#options.onChange();
    });
  }

  #begin(): void {
    const slot = this.#slot;
    const { readinessProbe, livenessProbe } = slot.container;
    slot.started = true;
    slot.ready = readinessProbe === undefined;
    if (readinessProbe !== undefined)
      this.#loop(readinessProbe, true, (verdict) => {
        slot.ready = verdict === "pass" && slot.isRunning;
        this.#options.onChange();
      });
    if (livenessProbe !== undefined)
      this.#loop(livenessProbe, false, (verdict) => {
        if (verdict === "fail") this.#options.onFailed();
      });
  }

  #loop(probe: Probe, eager: boolean, onVerdict: (verdict: "pass" | "fail") => void): ProbeLoop {
    const { network, exec } = this.#options;
    const act: ProbeAction = async (asked, timeoutMs) =>
      asked.exec === undefined
        ? await network(withPortNumber(asked, this.#slot.container), timeoutMs)
        : await exec(asked.exec.command ?? [], timeoutMs);
    const loop = new ProbeLoop({ probe, act, eager, onVerdict });
    this.#loops.push(loop);
    return loop;
  }
}

/** A probe with the number of a named port. */
function withPortNumber(probe: Probe, container: Container): Probe {
  const number = (port: number | string): number | string =>
    container.ports?.find((candidate) => candidate.name === port)?.containerPort ?? port;
  const { httpGet, tcpSocket } = probe;
  if (httpGet !== undefined) return { ...probe, httpGet: { ...httpGet, port: number(httpGet.port) } };
  if (tcpSocket !== undefined) return { ...probe, tcpSocket: { ...tcpSocket, port: number(tcpSocket.port) } };
  return probe;
}
