import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type AccessLog, type AccessLogEntry, accessLogFields, createAccessLog } from "./access-log.ts";
import { createLogger, type LogFormat } from "./logger.ts";

function capture(format: LogFormat, level = "info"): { log: AccessLog; lines: string[] } {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line), flush: () => {} };
  return { log: createAccessLog(createLogger({ format, level, destination })), lines };
}

function sample(name: string): string[] {
  return readFileSync(new URL(`testdata/${name}`, import.meta.url), "utf8")
    .trimEnd()
    .split("\n");
}

/** What real ztunnel logged, as we would be told of it. */
const complete: AccessLogEntry = {
  source: {
    address: "10.244.0.22:58318",
    workload: "curl-allow",
    namespace: "handson",
    identity: "spiffe://cluster.local/ns/handson/sa/curl-allow",
    cluster: "Kubernetes",
  },
  destination: {
    address: "10.244.1.21:15008",
    hboneAddress: "10.244.1.21:8080",
    service: "handson.handson.svc.cluster.local",
    workload: "handson-yellow-57d7d84b9f-kj2r2",
    namespace: "handson",
    identity: "spiffe://cluster.local/ns/handson/sa/handson-yellow",
    cluster: "Kubernetes",
  },
  direction: "inbound",
  bytesSent: 311,
  bytesReceived: 76,
  durationMs: 1.9,
};

const denied: AccessLogEntry = {
  source: {
    address: "10.244.1.22:53314",
    workload: "curl-deny",
    namespace: "handson",
    identity: "spiffe://cluster.local/ns/handson/sa/curl-deny",
    cluster: "Kubernetes",
  },
  destination: {
    address: "10.244.0.21:15008",
    hboneAddress: "10.244.0.21:8080",
    service: "blue.handson.svc.cluster.local",
    workload: "handson-blue-6554856f7f-7q9wf",
    namespace: "handson",
    identity: "spiffe://cluster.local/ns/handson/sa/handson-blue",
    cluster: "Kubernetes",
  },
  direction: "inbound",
  bytesSent: 0,
  bytesReceived: 0,
  durationMs: 0,
  error: "connection closed due to policy rejection: explicitly denied by: handson/layer4-authz",
};

const plaintext: AccessLogEntry = {
  source: { address: "10.244.0.23:41336", workload: "plain", namespace: "outside", cluster: "Kubernetes" },
  destination: {
    address: "10.244.1.21:8080",
    service: "yellow.handson.svc.cluster.local",
    workload: "handson-yellow-57d7d84b9f-kj2r2",
    namespace: "handson",
    cluster: "Kubernetes",
  },
  direction: "inbound",
  bytesSent: 0,
  bytesReceived: 0,
  durationMs: 0,
  error: "connection closed due to policy rejection: allow policies exist, but none allowed",
};

const withoutTime = (line: string | undefined): string => (line ?? "").trimEnd().replace(/^[^\t]*\t/, "");

describe("AccessLog", () => {
  it("writes byte for byte what real ztunnel wrote", () => {
    const { log, lines } = capture("plain");
    for (const entry of [complete, denied, plaintext]) log.connectionComplete(entry);
    expect(lines.map((line) => withoutTime(line))).toEqual(
      sample("ztunnel-access-log.txt").map((line) => withoutTime(line)),
    );
  });

  it("writes the same keys in the same order as ztunnel in JSON, with numbers as numbers", () => {
    const { log, lines } = capture("json");
    log.connectionComplete(complete);
    log.connectionComplete(denied);
    const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const samples = sample("ztunnel-access-log.json").map((line) => JSON.parse(line) as Record<string, unknown>);
    const shape = (entry: Record<string, unknown>): string[] =>
      Object.entries(entry).map(([key, value]) => `${key}: ${typeof value}`);
    expect(entries.map((entry) => shape(entry))).toEqual(samples.map((entry) => shape(entry)));
  });

  it("lists its fields in the order in which it writes them", () => {
    const { log, lines } = capture("json");
    log.connectionComplete(denied);
    expect(Object.keys(JSON.parse(lines[0] ?? "") as object).slice(4)).toEqual([...accessLogFields]);
  });

  it("adds further fields at the end", () => {
    const { log, lines } = capture("plain");
    log.connectionComplete({ ...denied, extra: { policy: "handson/layer4-authz", rule: 0 } });
    expect(lines[0]).toMatch(/error="[^"]*" policy="handson\/layer4-authz" rule=0\n$/);
  });

  it("warns of connections that failed before anything was known", () => {
    const { log, lines } = capture("plain");
    log.connectionFailed({
      sourceAddress: "10.0.0.1:1",
      destinationAddress: "10.0.0.2:2",
      direction: "outbound",
      error: "no identity",
    });
    expect(withoutTime(lines[0])).toBe(
      'warn\taccess\tconnection failed\tsrc.addr=10.0.0.1:1 dst.addr=10.0.0.2:2 direction="outbound" error="no identity"',
    );
  });

  it("tells of openings at debug only", () => {
    const quiet = capture("plain");
    quiet.log.connectionOpened(complete);
    expect(quiet.lines).toEqual([]);
    const talkative = capture("plain", "access=debug");
    talkative.log.connectionOpened(plaintext);
    expect(withoutTime(talkative.lines[0])).toMatch(
      /^debug\taccess\tconnection opened\tsrc\.addr=.*direction="inbound"$/,
    );
  });
});
