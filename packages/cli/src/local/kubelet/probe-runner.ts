// Probes of a container: when to ask, what counts, and when the answer changes.

import type { Probe } from "../object/kubernetes-object.ts";

/** Asks once; resolves whether the answer was good. */
export type ProbeAction = (probe: Probe, timeoutMs: number) => Promise<boolean>;

/** Counts answers as the kubelet does: thresholds in a row. */
export class ProbeCounter {
  readonly #successThreshold: number;
  readonly #failureThreshold: number;
  #successes = 0;
  #failures = 0;

  constructor(probe: Probe) {
    this.#successThreshold = probe.successThreshold ?? 1;
    this.#failureThreshold = probe.failureThreshold ?? 3;
  }

  /** `pass` or `fail` once enough answers in a row agree; undefined before. */
  count(isGood: boolean): "pass" | "fail" | undefined {
    this.#successes = isGood ? this.#successes + 1 : 0;
    this.#failures = isGood ? 0 : this.#failures + 1;
    if (this.#successes >= this.#successThreshold) return "pass";
    return this.#failures >= this.#failureThreshold ? "fail" : undefined;
  }
}

export interface ProbeLoopOptions {
  readonly probe: Probe;
  readonly act: ProbeAction;
  /** Ask more often until it first passes: right for readiness, where a failure costs nothing. */
  readonly eager: boolean;
  readonly onVerdict: (verdict: "pass" | "fail") => void;
}

/** Asks again and again until stopped. */
export class ProbeLoop {
  readonly #options: ProbeLoopOptions;
  readonly #counter: ProbeCounter;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #passed = false;

  constructor(options: ProbeLoopOptions) {
    this.#options = options;
    this.#counter = new ProbeCounter(options.probe);
    this.#schedule((options.probe.initialDelaySeconds ?? 0) * 1000);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(delayMs: number): void {
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#ask(), delayMs);
  }

  async #ask(): Promise<void> {
    const { probe, act, eager, onVerdict } = this.#options;
    const isGood = await act(probe, (probe.timeoutSeconds ?? 1) * 1000).catch(() => false);
    if (this.#stopped) return;
    const verdict = this.#counter.count(isGood);
    if (verdict !== undefined) {
      this.#passed = verdict === "pass";
      onVerdict(verdict);
    }
    const periodMs = (probe.periodSeconds ?? defaultPeriodSeconds) * 1000;
    // A pod should not wait ten seconds because it was a little late for the first question.
    this.#schedule(eager && !this.#passed ? Math.min(periodMs, eagerPeriodMs) : periodMs);
  }
}

const defaultPeriodSeconds = 10;
const eagerPeriodMs = 250;
