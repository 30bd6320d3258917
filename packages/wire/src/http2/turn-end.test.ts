import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { callAtTurnEnd } from "./turn-end.ts";

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
