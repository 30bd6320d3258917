import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { callAtTurnEnd, noteRead, turnsAreFull } from "./turn.ts";

afterEach(() => vi.restoreAllMocks());

describe("callAtTurnEnd", () => {
  it("calls after the microtasks of the turn, in order, and what comes meanwhile a turn later", async () => {
    const calls: string[] = [];
    const note = (name: string) => ({ onTurnEnd: () => void calls.push(name) });
    callAtTurnEnd({
      onTurnEnd: () => {
        calls.push("first");
        callAtTurnEnd(note("next turn"));
      },
    });
    callAtTurnEnd(note("second"));
    await Promise.resolve();
    expect(calls).toEqual([]);
    await nextTurn();
    expect(calls).toEqual(["first", "second"]);
    await nextTurn();
    expect(calls).toEqual(["first", "second", "next turn"]);
  });

  it("calls the others, a turn later, when one throws", async () => {
    const immediates = vi.spyOn(globalThis, "setImmediate").mockReturnValueOnce({} as NodeJS.Immediate);
    const onTurnEnd = vi.fn();
    callAtTurnEnd({
      onTurnEnd: () => {
        throw new Error("fault");
      },
    });
    callAtTurnEnd({ onTurnEnd });
    expect(immediates.mock.calls[0]?.[0]).toThrow("fault");
    expect(onTurnEnd).not.toHaveBeenCalled();
    await nextTurn();
    expect(onTurnEnd).toHaveBeenCalledOnce();
  });
});

describe("turnsAreFull", () => {
  /** A turn with so many reads. */
  async function turn(reads: number): Promise<void> {
    for (let i = 0; i < reads; i++) noteRead();
    await nextTurn();
  }

  it("is said from the first turn with many reads that was looked at, until a while without one", async () => {
    // One read in 64 looks how many follow it in its turn.
    await turn(100);
    expect(turnsAreFull()).toBe(true);
    for (let i = 0; i < 15; i++) await turn(3);
    await turn(16);
    for (let i = 0; i < 16; i++) await turn(3);
    expect(turnsAreFull()).toBe(true);
    await turn(3);
    expect(turnsAreFull()).toBe(false);
  });

  it("is not said of turns with a few reads each", async () => {
    for (let i = 0; i < 200; i++) {
      await turn(4);
      expect(turnsAreFull()).toBe(false);
    }
  });
});
