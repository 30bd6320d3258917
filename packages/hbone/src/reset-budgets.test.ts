import { describe, expect, it } from "vitest";
import { ResetBudgets } from "./reset-budgets.ts";

const source = (ip: string) => ({ identity: undefined, ip });

describe("ResetBudgets", () => {
  it("remembers what a client spent on other connections, refills it, and forgets the oldest of too many", () => {
    const budgets = new ResetBudgets({ burst: 200, perSecond: 100 });
    const spendAll = (ip: string, at: number): number => {
      let count = 0;
      while (budgets.of(source(ip)).spend(at, 0)) count++;
      return count;
    };
    expect(spendAll("10.0.0.1", 0)).toBe(200);
    expect(spendAll("10.0.0.1", 0)).toBe(0);
    expect(spendAll("10.0.0.2", 0)).toBe(200);
    expect(spendAll("10.0.0.1", 1100)).toBeGreaterThan(90);
    for (let i = 0; i < 10_000; i++) budgets.of(source(`10.1.${i >> 8}.${i & 255}`));
    expect(spendAll("10.0.0.1", 1100)).toBe(200);
  });
});
