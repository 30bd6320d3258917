import { ManualClock } from "@hairpin/testkit";
import { describe, expect, it } from "vitest";
import type { LogBatch } from "./messages.ts";
import { createPostedLog } from "./posted-log.ts";

function harness(maxWaitingChars?: number) {
  const batches: LogBatch[] = [];
  const taken: (() => void)[] = [];
  const clock = new ManualClock();
  const write = (batch: LogBatch): Promise<void> => {
    batches.push(batch);
    return new Promise((resolve) => taken.push(resolve));
  };
  const log = createPostedLog({ clock, write }, maxWaitingChars);
  /** Main answers the oldest batch. */
  const take = async (): Promise<void> => {
    taken.shift()?.();
    await clock.advance(0);
  };
  /** The next batch is due. */
  const wait = async (): Promise<void> => await clock.advance(20);
  return { clock, log, batches, take, wait };
}

describe("createPostedLog", () => {
  it("posts the lines of 20 ms together, in order", async () => {
    const { clock, log, batches, wait } = harness();
    log.write("one\n");
    await clock.advance(19);
    log.write("two\n");
    expect(batches).toEqual([]);
    await clock.advance(1);
    log.write("three\n");
    await wait();
    expect(batches).toEqual([
      { lines: ["one\n", "two\n"], dropped: 0 },
      { lines: ["three\n"], dropped: 0 },
    ]);
  });

  it("posts at once when it is flushed, and nothing twice", async () => {
    const { log, batches, wait } = harness();
    log.write("last words\n");
    log.flush();
    expect(batches).toEqual([{ lines: ["last words\n"], dropped: 0 }]);
    await wait();
    expect(batches).toHaveLength(1);
  });

  it("drops lines while main does not take them, and tells how many when it does", async () => {
    const { log, batches, take, wait } = harness(8);
    log.write("12345\n");
    await wait();
    log.write("67890\n");
    log.write("x\n");
    log.write("lost\n");
    await wait();
    expect(batches.slice(1)).toEqual([{ lines: ["x\n"], dropped: 2 }]);
    log.write("lost\n");
    await take();
    expect(batches.slice(2)).toEqual([{ lines: [], dropped: 1 }]);
    await take();
    log.write("again\n");
    await wait();
    expect(batches.slice(3)).toEqual([{ lines: ["again\n"], dropped: 0 }]);
  });
});
