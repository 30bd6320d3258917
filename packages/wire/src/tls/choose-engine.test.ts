import { liveOpensslObjects } from "@hairpin/native";
import { describe, expect, it } from "vitest";
import { chooseTlsEngine } from "./choose-engine.ts";

const broken = (): void => {
  throw new Error("no symbol SSL_new");
};

describe("chooseTlsEngine", () => {
  it("takes libssl where a handshake in memory succeeds, and leaves nothing behind", () => {
    expect(chooseTlsEngine("auto")).toMatchObject({ engine: { name: "libssl" }, isFallback: false });
    expect(chooseTlsEngine("libssl")).toMatchObject({ engine: { name: "libssl" }, isFallback: false });
    expect(liveOpensslObjects()).toEqual({ contexts: 0, connections: 0, temporaries: 0 });
  });

  it("falls back to node:tls and says why", () => {
    const choice = chooseTlsEngine("auto", broken);
    expect(choice).toMatchObject({ engine: { name: "node-tls" }, isFallback: true });
    expect(choice.reason).toBe("libssl does not work here: no symbol SSL_new");
  });

  it("takes node:tls without a look at libssl when it is asked for", () => {
    expect(chooseTlsEngine("node-tls", broken)).toMatchObject({ engine: { name: "node-tls" }, isFallback: false });
  });

  it("refuses to fall back when libssl is demanded", () => {
    expect(() => chooseTlsEngine("libssl", broken)).toThrow(
      expect.objectContaining({ code: "TLS_ENGINE_UNAVAILABLE", message: expect.stringMatching(/SSL_new/) as unknown }),
    );
  });
});
