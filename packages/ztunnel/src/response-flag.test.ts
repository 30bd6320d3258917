import { HboneError } from "@hairpin/hbone";
import { WireError } from "@hairpin/wire";
import { describe, expect, it } from "vitest";
import { connectFailed, describeFailure, ZtunnelError } from "./response-flag.ts";

const address = { ip: "10.0.0.2", port: 8080 };

describe("describeFailure", () => {
  it.each([
    [new HboneError("http status: 401 Unauthorized", { code: "HBONE_CONNECT_REFUSED", origin: "upstream" }), "CONNECT"],
    [
      new HboneError("connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: 10.0.0.2:15008", {
        code: "HBONE_DIAL_TIMEOUT",
        origin: "upstream",
      }),
      "NETWORK_POLICY",
    ],
    [new HboneError("tls handshake error: x", { code: "HBONE_HANDSHAKE_FAILED", origin: "upstream" }), "TLS_FAILURE"],
    [
      new HboneError("identity verification error: x", { code: "HBONE_PEER_IDENTITY", origin: "upstream" }),
      "TLS_FAILURE",
    ],
    [new ZtunnelError("identity error: x", { code: "CERTIFICATE_UNAVAILABLE", origin: "internal" }), "IDENTITY_ERROR"],
    [new ZtunnelError("closed", { code: "CONNECTION_POLICY_CHANGED", origin: "internal" }), "DENY"],
    [new ZtunnelError("gone", { code: "POD_REMOVED", origin: "internal" }), "-"],
    [new Error("read ECONNRESET"), "-"],
  ])("gives %s the flag %s and its own words", (error, flag) => {
    expect(describeFailure(error)).toEqual({ flag, text: error.message });
  });
});

describe("connectFailed", () => {
  it("names the address and the reason", () => {
    const cause = Object.assign(new Error("connect ECONNREFUSED 10.0.0.2:8080"), { code: "ECONNREFUSED" });
    expect(describeFailure(connectFailed(address, cause))).toEqual({
      flag: "CONNECT",
      text: "connection failed: 10.0.0.2:8080: connect ECONNREFUSED 10.0.0.2:8080",
    });
  });

  it("tells a timeout from a refusal", () => {
    const cause = new WireError("TCP_CONNECT_TIMEOUT", "took longer");
    expect(connectFailed(address, cause)).toMatchObject({
      code: "CONNECT_TIMEOUT",
      message: "connection timed out: 10.0.0.2:8080",
    });
  });
});
