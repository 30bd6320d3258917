// What the kubelet knows of one container, and the status it makes of it.

import { formatTime } from "../store/object-store.ts";
import type { Container, ContainerState, ContainerStatus } from "../object/kubernetes-object.ts";
import type { ContainerExit, ContainerProcess } from "./container-process.ts";
import type { LogFile } from "./log-file.ts";

const signalNumbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };
/** Exit codes above this mean that a signal ended the program, as shells count. */
const signalExitBase = 128;

export class ContainerSlot {
  readonly container: Container;
  readonly log: LogFile;
  process: ContainerProcess | undefined;
  ready = false;
  started = false;
  restartCount = 0;
  /** When the program last began, on the monotonic clock. */
  startedAtMs = 0;
  #state: ContainerState = { waiting: { reason: "ContainerCreating" } };
  #lastState: ContainerState | undefined;

  constructor(container: Container, log: LogFile) {
    this.container = container;
    this.log = log;
  }

  get isRunning(): boolean {
    return this.#state.running !== undefined;
  }

  /** The exit code of a container that has ended and does not wait to be started again. */
  get finishedWith(): number | undefined {
    return this.#state.terminated?.exitCode;
  }

  waiting(reason: string, message?: string): void {
    this.ready = false;
    this.started = false;
    if (this.#state.terminated !== undefined) this.#lastState = this.#state;
    this.#state = { waiting: message === undefined ? { reason } : { reason, message } };
  }

  running(process: ContainerProcess): void {
    this.process = process;
    this.startedAtMs = performance.now();
    this.#state = { running: { startedAt: formatTime(new Date()) } };
  }

  ended({ exitCode, signal }: ContainerExit): void {
    this.process = undefined;
    this.ready = false;
    this.started = false;
    const code = signal === undefined ? exitCode : signalExitBase + (signalNumbers[signal] ?? 0);
    const reason = code === 0 ? "Completed" : "Error";
    const finishedAt = formatTime(new Date());
    this.#state = { terminated: { exitCode: code, reason, finishedAt, ...(signal === undefined ? {} : { signal }) } };
  }

  status(): ContainerStatus {
    return {
      name: this.container.name,
      image: this.container.image ?? "",
      ready: this.ready,
      started: this.started,
      restartCount: this.restartCount,
      state: this.#state,
      ...(this.#lastState === undefined ? {} : { lastState: this.#lastState }),
    };
  }
}
