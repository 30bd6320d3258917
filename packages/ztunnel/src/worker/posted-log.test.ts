import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { LogBatch } from "./messages.ts";
import { createPostedLog } from "./posted-log.ts";

function harness(maxWaitingChars?: number) {
  const batches: LogBatch[] = [];
  const taken: (() => void)[] = [];
  const log = createPostedLog((batch) => {
    batches.push(batch);
    return new Promise((resolve) => taken.push(resolve));
  }, maxWaitingChars);
  /** Main answers the oldest batch. */
  const take = async (): Promise<void> => {
    taken.shift()?.();
    await nextTurn();
  };
  return { log, batches, take };
}

describe("createPostedLog", () => {
  it("posts the lines of one turn together, in order", async () => {
    const { log, batches } = harness();
    log.write("one\n");
    log.write("two\n");
    expect(batches).toEqual([]);
    await nextTurn();
    log.write("three\n");
    await nextTurn();
    expect(batches).toEqual([
      { lines: ["one\n", "two\n"], dropped: 0 },
      { lines: ["three\n"], dropped: 0 },
    ]);
  });

  it("posts at once when it is flushed, and nothing twice", async () => {
    const { log, batches } = harness();
    log.write("last words\n");
    log.flush();
    expect(batches).toEqual([{ lines: ["last words\n"], dropped: 0 }]);
    await nextTurn();
    expect(batches).toHaveLength(1);
  });

  it("drops lines while main does not take them, and tells how many when it does", async () => {
    const { log, batches, take } = harness(8);
    log.write("12345\n");
    await nextTurn();
    log.write("67890\n");
    log.write("x\n");
    log.write("lost\n");
    await nextTurn();
    expect(batches.slice(1)).toEqual([{ lines: ["x\n"], dropped: 2 }]);
    log.write("lost\n");
    await take();
    expect(batches.slice(2)).toEqual([{ lines: [], dropped: 1 }]);
    await take();
    log.write("again\n");
    await nextTurn();
    expect(batches.slice(3)).toEqual([{ lines: ["again\n"], dropped: 0 }]);
  });
});
