import { describe, expect, it } from "vitest";
import { grpcStatusLabel } from "./grpc-status.ts";

describe("grpcStatusLabel", () => {
  it.each([
    ["a code", true, "16", "16"],
    ["a code with a zero in front", true, "07", "7"],
    ["a code that does not exist", true, "17", "2"],
    ["text that an application made up", true, "9e6b1c", "2"],
    ["none", true, "", ""],
    ["any text of an answer that is no gRPC", false, "5", ""],
  ])("of %s", (_what, isGrpc, status, label) => {
    expect(grpcStatusLabel(isGrpc, status)).toBe(label);
  });
});
