import { describe, expect, it } from "vitest";
import { type CpuProfile, selfTimes } from "./self-times.ts";

const node = (id: number, functionName: string, url: string, children: readonly number[] = []) => ({
  id,
  callFrame: { functionName, url, lineNumber: 9 },
  children,
});

/** root → relay (ours) → write (Node's) → writev (native); idle. */
const profile: CpuProfile = {
  nodes: [
    node(1, "(root)", "", [2, 5]),
    node(2, "relay", "file:///project/packages/hbone/src/relay.ts", [3]),
    node(3, "write", "node:net", [4]),
    node(4, "writev", ""),
    node(5, "(idle)", ""),
  ],
  startTime: 1000,
  samples: [2, 4, 5, 4],
  timeDeltas: [100, 100, 100, 200],
};
const all = { startUs: 0, endUs: 10_000 };

describe("selfTimes", () => {
  it("gives each function its share of the time that was not idle", () => {
    const { busySeconds, functions } = selfTimes([profile], all, "/project");
    expect(busySeconds).toBeCloseTo(400e-6);
    expect(functions).toEqual([
      { place: "writev", share: 0.75 },
      { place: "relay  packages/hbone/src/relay.ts:10", share: 0.25 },
    ]);
  });

  it("gives what Node and the kernel did to the file that called them", () => {
    expect(selfTimes([profile], all, "/project").files).toEqual([{ place: "packages/hbone/src/relay.ts", share: 1 }]);
  });

  it("counts only what happened within the window", () => {
    const { functions } = selfTimes([profile], { startUs: 1050, endUs: 1150 }, "/project");
    expect(functions).toEqual([{ place: "relay  packages/hbone/src/relay.ts:10", share: 1 }]);
  });

  it("adds up the threads of a process", () => {
    expect(selfTimes([profile, profile], all, "/project").busySeconds).toBeCloseTo(800e-6);
  });
});
