import { MessageChannel } from "node:worker_threads";
import { MeshError } from "@hairpin/shared/process";
import { afterEach, describe, expect, it } from "vitest";
import { CallChannel } from "./call-channel.ts";

interface Counting {
  add(amount: number): number;
  later(name: string): Promise<string>;
  refuse(): never;
}

const ports: { close(): void }[] = [];
afterEach(() => {
  for (const port of ports.splice(0)) port.close();
});

/** Two ends in one thread: messages are copied all the same. */
function connect(mine: object = {}) {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  const log: string[] = [];
  let sum = 0;
  const gates = new Map<string, () => void>();
  const methods: Counting = {
    add(amount) {
      log.push(`add ${amount}`);
      sum += amount;
      return sum;
    },
    later(name) {
      log.push(`later ${name}`);
      return new Promise((resolve) => {
        gates.set(name, () => resolve(name));
        if (name === "release") for (const open of gates.values()) open();
      });
    },
    refuse() {
      throw new MeshError("no more", { code: "FULL", origin: "internal", cause: new Error("the disk is full") });
    },
  };
  const called = new CallChannel<never>(port2, methods);
  return { caller: new CallChannel<Counting>(port1, mine), called, log };
}

describe("CallChannel", () => {
  it("gives each call its own answer, in whatever order they come", async () => {
    const { caller } = connect();
    const slow = caller.call("later", "slow");
    expect(await caller.call("add", 2)).toBe(2);
    expect(await Promise.all([caller.call("later", "release"), slow])).toEqual(["release", "slow"]);
  });

  it("does what is asked in the order in which it was asked, with and without answers", async () => {
    const { caller, log } = connect();
    caller.post("add", 1);
    void caller.call("later", "x");
    caller.post("add", 2);
    expect(await caller.call("add", 3)).toBe(6);
    expect(log).toEqual(["add 1", "later x", "add 2", "add 3"]);
    await caller.call("later", "release");
  });

  it("rejects with what the other side threw: its code, its words and those of its cause", async () => {
    const { caller } = connect();
    const rejected = expect(caller.call("refuse")).rejects;
    await rejected.toMatchObject({ code: "FULL", message: "no more: the disk is full" });
    await expect(caller.call("refuse")).rejects.toBeInstanceOf(MeshError);
  });

  it("rejects what waits and what comes once it is closed", async () => {
    const { caller, log } = connect();
    const waiting = caller.call("later", "never");
    await caller.call("add", 1);
    caller.close(new Error("the worker has ended"));
    await expect(waiting).rejects.toThrow("the worker has ended");
    await expect(caller.call("add", 5)).rejects.toThrow("the worker has ended");
    caller.post("add", 7);
    expect(log).toEqual(["later never", "add 1"]);
  });
});
