import { describe, expect, it } from "vitest";
import { parseProcessStat, parseStolenTicks } from "./foreign-cpu.ts";

describe("parseProcessStat", () => {
  it("adds up the time of a process and of its ended children, whatever its name", () => {
    const text = "42 (a) b (c) S 1 42 42 0 -1 4194304 90 0 0 0 100 20 3 4 20 0 5 0 1000 0 0";
    expect(parseProcessStat(text)).toEqual({ isKernelThread: false, ticks: 127 });
  });

  it("knows kernel threads", () => {
    const text = "16 (ksoftirqd/0) S 2 0 0 0 -1 69238848 0 0 0 0 0 58 0 0 20 0 1 0 30 0 0";
    expect(parseProcessStat(text)).toEqual({ isKernelThread: true, ticks: 58 });
  });
});

describe("parseStolenTicks", () => {
  it("reads what a hypervisor gave to others", () => {
    expect(parseStolenTicks("cpu  1 2 3 4 5 6 7 88 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n")).toBe(88);
    expect(parseStolenTicks("")).toBe(0);
  });
});
