// The formats are contracts: the expected lines are those of a real ztunnel (build 62d82653), with the names of the pods as they were.
import { systemClock } from "@hairpin/shared/process";
import { createAccessLog, createLogger, MetricRegistry } from "@hairpin/shared/telemetry";
import { aService, aWorkload, ManualClock } from "@hairpin/testkit";
import { describe, expect, it } from "vitest";
import { ZtunnelError } from "../response-flag.ts";
import type { ConnectionDescription } from "./connection-description.ts";
import { ConnectionTelemetry } from "./connection-telemetry.ts";

const client = aWorkload({
  name: "curl-allow",
  namespace: "handson",
  serviceAccount: "curl-allow",
  workloadName: "curl-allow",
  canonicalName: "curl-allow",
});
const server = aWorkload({
  uid: "Kubernetes//Pod/handson/handson-yellow-57d7d84b9f-kj2r2",
  name: "handson-yellow-57d7d84b9f-kj2r2",
  namespace: "handson",
  serviceAccount: "handson-yellow",
  workloadName: "handson-yellow",
  canonicalName: "handson",
});
const service = aService({ name: "handson", namespace: "handson", hostname: "handson.handson.svc.cluster.local" });

const inbound: ConnectionDescription = {
  direction: "inbound",
  sourceAddress: { ip: "10.244.0.22", port: 58_318 },
  source: client,
  sourceIdentity: client,
  destinationAddress: { ip: "10.244.1.21", port: 15_008 },
  hboneAddress: "10.244.1.21:8080",
  destination: server,
  service,
  mutualTls: true,
};

function observe(format: "plain" | "json" = "plain") {
  const lines: string[] = [];
  const destination = { write: (line: string) => lines.push(line), flush() {} };
  const logger = createLogger({ format, destination });
  const metrics = new MetricRegistry();
  const clock = new ManualClock();
  const telemetry = new ConnectionTelemetry({ metrics, accessLog: createAccessLog(logger), clock });
  return { lines, metrics, clock, telemetry };
}

const withoutTime = (line: string | undefined): string => (line ?? "").replace(/^[^\t]*\t/, "");

describe("the access log", () => {
  it("writes a tunnelled connection as ztunnel does", async () => {
    const { lines, telemetry, clock } = observe();
    const observed = telemetry.open(inbound, clock.now());
    observed.counters.bytesReceived = 76;
    observed.counters.bytesSent = 311;
    await clock.advance(1.9);
    observed.close();
    expect(withoutTime(lines[0])).toBe(
      `info\taccess\tconnection complete\tsrc.addr=10.244.0.22:58318 src.workload="curl-allow" src.namespace="handson" src.identity="spiffe://cluster.local/ns/handson/sa/curl-allow" src.cluster="Kubernetes" dst.addr=10.244.1.21:15008 dst.hbone_addr=10.244.1.21:8080 dst.service="handson.handson.svc.cluster.local" dst.workload="handson-yellow-57d7d84b9f-kj2r2" dst.namespace="handson" dst.identity="spiffe://cluster.local/ns/handson/sa/handson-yellow" dst.cluster="Kubernetes" direction="inbound" bytes_sent=311 bytes_recv=76 duration="1ms"\n`,
    );
  });

  it("counts bytes from the side of the reporting application", () => {
    const { lines, telemetry } = observe();
    const observed = telemetry.open({ ...inbound, direction: "outbound" }, 0);
    observed.counters.bytesReceived = 49;
    observed.counters.bytesSent = 278;
    observed.close();
    expect(lines[0]).toContain('direction="outbound" bytes_sent=49 bytes_recv=278');
  });

  it("writes a refused plaintext connection as ztunnel does, and then who was refused by what", () => {
    const { lines, telemetry } = observe();
    const observed = telemetry.open(
      {
        ...inbound,
        sourceAddress: { ip: "10.244.0.23", port: 41_336 },
        source: { ...client, name: "plain", namespace: "outside" },
        sourceIdentity: undefined,
        destinationAddress: { ip: "10.244.1.21", port: 8080 },
        hboneAddress: undefined,
        mutualTls: false,
      },
      0,
    );
    const reason = "connection closed due to policy rejection: allow policies exist, but none allowed";
    observed.close({
      error: new ZtunnelError(reason, { code: "CONNECTION_DENIED", origin: "downstream" }),
      decision: {
        allowed: false,
        reason: "allow policies exist, but none allowed",
        unmatchedAllow: ["handson/need-identity"],
        dryRun: [],
      },
    });
    expect(withoutTime(lines[0])).toBe(
      `error\taccess\tconnection complete\tsrc.addr=10.244.0.23:41336 src.workload="plain" src.namespace="outside" src.cluster="Kubernetes" dst.addr=10.244.1.21:8080 dst.service="handson.handson.svc.cluster.local" dst.workload="handson-yellow-57d7d84b9f-kj2r2" dst.namespace="handson" dst.cluster="Kubernetes" direction="inbound" bytes_sent=0 bytes_recv=0 duration="0ms" error="${reason}" policy="handson/need-identity" denied.identity="none"\n`,
    );
  });

  it("has ztunnel's field names in JSON, in its order", () => {
    const { lines, telemetry } = observe("json");
    telemetry.open(inbound, 0).close();
    const line = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
    expect(Object.keys(line)).toEqual([
      "level",
      "time",
      "scope",
      "message",
      "src.addr",
      "src.workload",
      "src.namespace",
      "src.identity",
      "src.cluster",
      "dst.addr",
      "dst.hbone_addr",
      "dst.service",
      "dst.workload",
      "dst.namespace",
      "dst.identity",
      "dst.cluster",
      "direction",
      "bytes_sent",
      "bytes_recv",
      "duration",
    ]);
    expect(line).toMatchObject({ scope: "access", "src.addr": "10.244.0.22:58318", bytes_sent: 0, duration: "0ms" });
  });

  it("tells of a connection that failed before it was known whose it is", () => {
    const { lines, telemetry } = observe();
    const source = { ip: "10.0.0.1", port: 1 };
    telemetry.failEarly("inbound", { source, destination: { ip: "10.0.0.2", port: 15_008 } }, "tls handshake error");
    expect(withoutTime(lines[0])).toBe(
      'warn\taccess\tconnection failed\tsrc.addr=10.0.0.1:1 dst.addr=10.0.0.2:15008 direction="inbound" error="tls handshake error"\n',
    );
  });
});

describe("the metrics", () => {
  const labels =
    'reporter="destination",source_workload="curl-allow",source_canonical_service="curl-allow",source_canonical_revision="latest",source_workload_namespace="handson",source_principal="spiffe://cluster.local/ns/handson/sa/curl-allow",source_app="curl-allow",source_version="latest",source_cluster="Kubernetes",destination_service="handson.handson.svc.cluster.local",destination_service_namespace="handson",destination_service_name="handson",destination_workload="handson-yellow",destination_canonical_service="handson",destination_canonical_revision="latest",destination_workload_namespace="handson",destination_principal="spiffe://cluster.local/ns/handson/sa/handson-yellow",destination_app="handson",destination_version="latest",destination_cluster="Kubernetes",request_protocol="tcp",response_flags="-",connection_security_policy="mutual_tls",source_region="unknown",source_zone="unknown",destination_region="unknown",destination_zone="unknown"';

  it("are ztunnel's families with its labels in its order", async () => {
    const { metrics, telemetry } = observe();
    const observed = telemetry.open(inbound, 0);
    observed.counters.bytesReceived = 76;
    observed.counters.bytesSent = 311;
    const { body } = await metrics.expose();
    expect(body).toContain(`\nistio_tcp_connections_opened_total{${labels}} 1\n`);
    expect(body).toContain(`\nistio_tcp_received_bytes_total{${labels}} 76\n`);
    expect(body).toContain(`\nistio_tcp_sent_bytes_total{${labels}} 311\n`);
    expect(body).toContain('\nistio_tcp_sockets_open{reporter="destination"} 1\n');
    expect(body).not.toContain("connections_closed_total{");
  });

  it("count each byte once, whenever they are read", async () => {
    const { metrics, telemetry } = observe();
    const observed = telemetry.open(inbound, 0);
    observed.counters.bytesSent = 10;
    await metrics.expose();
    await metrics.expose();
    observed.counters.bytesSent = 25;
    observed.close();
    expect((await metrics.expose()).body).toContain(`\nistio_tcp_sent_bytes_total{${labels}} 25\n`);
  });

  it("count a failure as opened, and as closed and failed with its flag", async () => {
    const { metrics, telemetry } = observe();
    const error = new ZtunnelError("no", { code: "CONNECTION_DENIED", origin: "downstream" });
    telemetry.open(inbound, 0).close({ error });
    const { body } = await metrics.expose();
    const denied = labels.replace('response_flags="-"', 'response_flags="DENY"');
    expect(body).toContain(`\nistio_tcp_connections_opened_total{${labels}} 1\n`);
    expect(body).toContain(`\nistio_tcp_connections_closed_total{${denied}} 1\n`);
    expect(body).toContain(`\nistio_tcp_connections_failed_total{${denied}} 1\n`);
    expect(body).toContain('\nistio_tcp_sockets_open{reporter="destination"} 0\n');
  });

  it("count connections of the same ends together, and apart when anything of them differs", async () => {
    const { metrics, telemetry } = observe();
    const differing: ConnectionDescription[] = [
      { ...inbound, direction: "outbound" },
      { ...inbound, source: { ...client, canonicalName: "other" } },
      { ...inbound, sourceIdentity: { ...client, serviceAccount: "other" } },
      { ...inbound, destination: { ...server, canonicalRevision: "v2" } },
      { ...inbound, service: { ...service, hostname: "other.svc" } },
      { ...inbound, service: undefined },
      { ...inbound, sourceIdentity: undefined, mutualTls: false },
    ];
    for (const description of [inbound, inbound, ...differing, inbound]) telemetry.open(description, 0).close();
    const { body } = await metrics.expose();
    for (const family of ["opened", "closed"]) {
      const counts = [...body.matchAll(new RegExp(`^istio_tcp_connections_${family}_total\\{.*\\} (\\d+)$`, "gm"))];
      expect(counts.map(([, count]) => count)).toEqual(["3", "1", "1", "1", "1", "1", "1", "1"]);
      expect(body).toContain(`\nistio_tcp_connections_${family}_total{${labels}} 3\n`);
    }
  });

  it("close a connection once", async () => {
    const { metrics, lines, telemetry } = observe();
    const observed = telemetry.open(inbound, systemClock.now());
    observed.close();
    observed.close();
    expect(lines).toHaveLength(1);
    expect((await metrics.expose()).body).toContain('istio_tcp_sockets_open{reporter="destination"} 0\n');
  });

  it("say unknown for what is not known, and for the principal of a plaintext caller", async () => {
    const { metrics, telemetry } = observe();
    telemetry.open(
      { ...inbound, source: undefined, sourceIdentity: undefined, service: undefined, mutualTls: false },
      0,
    );
    const { body } = await metrics.expose();
    expect(body).toContain('source_workload="unknown",source_canonical_service="unknown"');
    expect(body).toContain('source_principal="unknown"');
    expect(body).toContain(
      'destination_service="unknown",destination_service_namespace="unknown",destination_service_name="unknown"',
    );
    expect(body).toContain('destination_principal="spiffe://cluster.local/ns/handson/sa/handson-yellow"');
    expect(body).toContain('connection_security_policy="unknown"');
  });
});
