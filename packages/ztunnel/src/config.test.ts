import { availableParallelism } from "node:os";
import { ConfigError } from "@hairpin/shared/process";
import { describe, expect, it } from "vitest";
import { describeConfig, readConfig } from "./config.ts";

describe("readConfig", () => {
  it("has Istio's defaults", () => {
    const config = readConfig({});
    expect(config).toMatchObject({
      network: "",
      clusterId: "Kubernetes",
      clusterDomain: "cluster.local",
      identity: { trustDomain: "cluster.local", namespace: "istio-system", serviceAccount: "ztunnel" },
      xds: {
        address: "https://istiod.istio-system.svc:15012",
        root: { kind: "file", path: "./var/run/secrets/istio/root-cert.pem" },
      },
      token: { kind: "file", path: "./var/run/secrets/tokens/istio-token" },
      secretTtlMs: 86_400_000,
      pool: { maxStreamsPerConnection: 100, unusedReleaseMs: 300_000 },
      http2: { streamWindow: 4_194_304, connectionWindow: 16_777_216, frameSize: 1_048_576 },
      drainDeadlineMs: 5000,
      packetMark: 1337,
      keepalive: { enabled: true, timeMs: 180_000, intervalMs: 180_000, retries: 9, userTimeoutEnabled: false },
      inpodUds: "/var/run/ztunnel/ztunnel.sock",
      admin: { host: "127.0.0.1", port: 15_000 },
      metrics: { host: "::", port: 15_020 },
      readiness: { host: "::", port: 15_021 },
      dns: { enabled: true, port: 15_053 },
    });
  });

  it("reads how many threads serve: a number, 0 for none but the main one, or a part of the cores", () => {
    const threads = (text: string): number => readConfig({ ZTUNNEL_WORKER_THREADS: text }).workerThreads;
    expect(readConfig({}).workerThreads).toBe(1);
    expect([threads("0"), threads("3")]).toEqual([0, 3]);
    expect(threads("100%")).toBe(availableParallelism());
    expect(threads("1%")).toBe(Math.ceil(availableParallelism() / 100));
    expect(threads("0%")).toBe(1);
    for (const text of ["-1", "1.5", "many", "%", "257"]) expect(() => threads(text)).toThrow(/ZTUNNEL_WORKER_THREADS/);
  });

  it("does not have several threads without shared ports", () => {
    const environment = { ZTUNNEL_WORKER_THREADS: "2", INPOD_PORT_REUSE: "false" };
    expect(() => readConfig(environment)).toThrow(/INPOD_PORT_REUSE/);
    expect(readConfig({ ...environment, ZTUNNEL_WORKER_THREADS: "1" }).portReuse).toBe(false);
  });

  it("ignores variables that it does not know", () => {
    expect(readConfig({ INPOD_ENABLED: "true", SOME_OTHER: "x" })).toEqual(readConfig({}));
  });

  it("reads the grace period as ztunnel does, and the explicit deadline before it", () => {
    const deadline = (environment: Record<string, string>): number => readConfig(environment).drainDeadlineMs;
    expect(deadline({ TERMINATION_GRACE_PERIOD_SECONDS: "30" })).toBe(25_000);
    expect(deadline({ TERMINATION_GRACE_PERIOD_SECONDS: "10" })).toBe(9000);
    expect(deadline({ TERMINATION_GRACE_PERIOD_SECONDS: "1" })).toBe(1000);
    expect(deadline({ TERMINATION_GRACE_PERIOD_SECONDS: "30", CONNECTION_TERMINATION_DEADLINE: "2s" })).toBe(2000);
  });

  it("adds the scheme, and takes roots and tokens by path or inline", () => {
    const config = readConfig({
      XDS_ADDRESS: "10.0.0.1:15012",
      CA_ADDRESS: "https://10.0.0.2:15012",
      XDS_ROOT_CA: "SYSTEM",
      CA_ROOT_CA: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----",
      ALT_XDS_HOSTNAME: "istiod.istio-system.svc",
      AUTH_TOKEN: "literal-token",
      XDS_HEADER_Tenant: "a",
    });
    expect(config.xds).toEqual({
      address: "https://10.0.0.1:15012",
      root: { kind: "system" },
      alternativeHostname: "istiod.istio-system.svc",
      headers: { tenant: "a" },
    });
    expect(config.ca.root.kind).toBe("inline");
    expect(config.token).toEqual({ kind: "literal", token: "literal-token" });
  });

  it("prefers ISTIO_META_CLUSTER_ID and sends ISTIO_META_* as metadata", () => {
    const config = readConfig({ CLUSTER_ID: "a", ISTIO_META_CLUSTER_ID: "b", ISTIO_METAJSON_LABELS: '{"x":"y"}' });
    expect(config.clusterId).toBe("b");
    expect(config.metadata).toEqual({ CLUSTER_ID: "b", LABELS: { x: "y" } });
  });

  it("listens on IPv4 only when IPv6 is off", () => {
    expect(readConfig({ IPV6_ENABLED: "false" }).metrics.host).toBe("0.0.0.0");
  });

  it("tells every mistake at once", () => {
    const environment = {
      PROXY_MODE: "dedicated",
      PACKET_MARK: "none",
      SECRET_TTL: "forever",
      XDS_ADDRESS: "https://a/b",
      ISTIO_METAJSON_X: "{",
      LOG_FORMAT: "xml",
      LOG_LEVEL: "loud",
    };
    let error: unknown;
    try {
      readConfig(environment);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ConfigError);
    const variables = (error as ConfigError).mistakes.map((mistake) => mistake.variable).toSorted();
    expect(variables).toEqual(Object.keys(environment).toSorted());
  });
});

describe("describeConfig", () => {
  it("shows no secret", () => {
    const config = readConfig({ AUTH_TOKEN: "sesame", XDS_HEADER_KEY: "sesame", CA_ROOT_CA: "-----BEGIN sesame" });
    expect(JSON.stringify(describeConfig(config))).not.toContain("sesame");
  });
});
