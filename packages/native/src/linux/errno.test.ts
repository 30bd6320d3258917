import { describe, expect, it } from "vitest";
import { hasCode, SystemError } from "./errno.ts";

describe("SystemError", () => {
  it("names errno as Node does and says what failed", () => {
    const error = new SystemError("bind", 98, "10.0.0.1:80");
    expect(error).toMatchObject({ code: "EADDRINUSE", syscall: "bind", errno: 98 });
    expect(error.message).toBe("bind 10.0.0.1:80: EADDRINUSE (address already in use)");
  });

  it("keeps a number that has no name", () => {
    expect(new SystemError("setns", 4095)).toMatchObject({ code: "E4095", errno: 4095 });
  });

  it("is told by its code, as Node's errors are", () => {
    expect(hasCode(new SystemError("read", 11), "EAGAIN")).toBe(true);
    expect(hasCode(new SystemError("read", 11), "EPIPE")).toBe(false);
    expect(hasCode("EAGAIN", "EAGAIN")).toBe(false);
  });
});
