import { describe, expect, test, vi } from "vitest";
import { Memo } from "./memo.ts";

describe("Memo", () => {
  const key = { name: "pod" };
  const service = {};

  test("builds once for the same object and the same inputs", () => {
    const memo = new Memo<object, object>();
    const build = vi.fn(() => ({}));
    const first = memo.get(key, [service, "text", undefined], build);
    expect(memo.get(key, [service, "text", undefined], build)).toBe(first);
    expect(build).toHaveBeenCalledTimes(1);
  });

  test.each<[string, object, readonly unknown[]]>([
    ["another object that looks the same", { name: "pod" }, [service]],
    ["an equal input that is another object", key, [{}]],
    ["an input more", key, [service, undefined]],
    ["an input less", key, []],
  ])("builds anew for %s", (_, object, inputs) => {
    const memo = new Memo<object, string>();
    memo.get(key, [service], () => "before");
    expect(memo.get(object, inputs, () => "after")).toBe("after");
  });

  test("remembers undefined, and nothing of a build that threw", () => {
    const memo = new Memo<object, string | undefined>();
    const fail = (): string => {
      throw new Error("bad address");
    };
    expect(() => memo.get(key, [], fail)).toThrow("bad address");
    expect(memo.get(key, [], () => undefined)).toBeUndefined();
    expect(memo.get(key, [], fail)).toBeUndefined();
  });
});
