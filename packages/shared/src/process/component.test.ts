import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { type Component, type ProcessLogger, runComponents } from "./component.ts";

class Recorder {
  readonly events: string[] = [];
  readonly signals: EventEmitter = new EventEmitter();
  readonly logger: ProcessLogger = {
    info: () => {},
    error: (message, fields) => this.events.push(`error: ${message} ${JSON.stringify(fields?.["component"])}`),
  };

  component(name: string, faults: { start?: boolean; stop?: boolean } = {}): Component {
    const record = async (action: string, fails: boolean | undefined): Promise<void> => {
      this.events.push(`${action} ${name}`);
      if (fails === true) throw new Error(`${name} cannot ${action}`);
    };
    return { name, start: () => record("start", faults.start), stop: () => record("stop", faults.stop) };
  }
}

describe("runComponents", () => {
  it("starts in order and stops in reverse on SIGTERM, after the shutdown hook", async () => {
    const recorder = new Recorder();
    const running = await runComponents([recorder.component("a"), recorder.component("b")], {
      logger: recorder.logger,
      signals: recorder.signals,
      onShutdown: async (signal) => void recorder.events.push(`drain on ${signal}`),
    });
    recorder.signals.emit("SIGTERM");
    expect(await running.stopped).toBe("SIGTERM");
    expect(recorder.events).toEqual(["start a", "start b", "drain on SIGTERM", "stop b", "stop a"]);
    expect(recorder.signals.listenerCount("SIGTERM") + recorder.signals.listenerCount("SIGINT")).toBe(0);
  });

  it("stops what was started, and throws, when one fails to start", async () => {
    const recorder = new Recorder();
    const components = [recorder.component("a"), recorder.component("b", { start: true }), recorder.component("c")];
    const started = runComponents(components, { logger: recorder.logger, signals: recorder.signals });
    await expect(started).rejects.toThrow("b cannot start");
    expect(recorder.events).toEqual(["start a", "start b", "stop b", "stop a"]);
  });

  it("stops the others when one fails to stop, and logs it", async () => {
    const recorder = new Recorder();
    const components = [recorder.component("a"), recorder.component("b", { stop: true })];
    const running = await runComponents(components, { logger: recorder.logger, signals: recorder.signals });
    await running.stop();
    expect(recorder.events.slice(2)).toEqual(["stop b", 'error: component failed to stop "b"', "stop a"]);
  });

  it("stops once, however often it is told to", async () => {
    const recorder = new Recorder();
    const running = await runComponents([recorder.component("a")], {
      logger: recorder.logger,
      signals: recorder.signals,
    });
    recorder.signals.emit("SIGTERM");
    recorder.signals.emit("SIGINT");
    await running.stop();
    expect(recorder.events).toEqual(["start a", "stop a"]);
  });

  it("starts no further component once a signal came", async () => {
    const recorder = new Recorder();
    const slow = recorder.component("a");
    const interrupting: Component = {
      ...slow,
      start: async () => {
        await slow.start();
        recorder.signals.emit("SIGINT");
      },
    };
    const running = await runComponents([interrupting, recorder.component("b")], {
      logger: recorder.logger,
      signals: recorder.signals,
    });
    await running.stopped;
    expect(recorder.events).toEqual(["start a", "stop a"]);
  });
});
