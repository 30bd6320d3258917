import { describe, expect, it } from "vitest";
import { LogLevels } from "./log-levels.ts";

describe("LogLevels", () => {
  it("gives a scope the level of its longest prefix", () => {
    const levels = new LogLevels("warn,proxy=info,proxy::inbound=debug");
    expect(levels.levelOf("xds")).toBe("warn");
    expect(levels.levelOf("proxy")).toBe("info");
    expect(levels.levelOf("proxy::outbound")).toBe("info");
    expect(levels.levelOf("proxy::inbound::h2")).toBe("debug");
    expect(levels.levelOf("proxyx")).toBe("warn");
  });

  it("adds changes to what is set, and resets to the start", () => {
    const levels = new LogLevels("info,xds=debug");
    levels.set("access=off");
    levels.set("error");
    expect(levels.toString()).toBe("xds=debug,access=off,error");
    levels.reset();
    expect(levels.toString()).toBe("xds=debug,info");
  });

  it("replaces all that was set, and tells every change as a directive that replaces", () => {
    const levels = new LogLevels("info,xds=debug");
    const followers = new LogLevels();
    const stop = levels.onChange((directive) => followers.replace(directive));
    levels.set("access=off");
    expect(followers.toString()).toBe("xds=debug,access=off,info");
    levels.replace("warn,dns=debug");
    expect(followers.toString()).toBe("dns=debug,warn");
    stop();
    levels.reset();
    expect(followers.toString()).toBe("dns=debug,warn");
    expect(levels.toString()).toBe("xds=debug,info");
  });

  it.each(["", "loud", "xds=", "xds=loud", "=debug", "a=b=c", "x y=debug", "info,,debug"])(
    "refuses %j whole",
    (directive) => {
      const levels = new LogLevels("info");
      expect(() => levels.set(`xds=debug,${directive}`)).toThrow(/Log (level|scope) /);
      expect(levels.toString()).toBe("info");
    },
  );

  it("takes levels in any case", () => {
    expect(new LogLevels("DEBUG").isEnabled("debug", "x")).toBe(true);
  });

  it("does not let scopes grow without limit", () => {
    const levels = new LogLevels();
    expect(() => {
      for (let i = 0; i < 1_000; i++) levels.set(`s${i}=debug`);
    }).toThrow("reset first");
  });
});
