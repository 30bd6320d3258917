// What observers read of a running mesh against what a real Istio ambient mesh wrote, with the same objects
// (testdata/, of ztunnel 62d82653; certificates left out): names, labels, fields, types and texts, not values.
import { readFileSync } from "node:fs";
import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AccessLogLine, parseAccessLog } from "./harness/access-log.ts";
import { parseMetrics } from "./harness/metrics.ts";
import { ScenarioMesh } from "./harness/scenario-mesh.ts";
import { missingFrom, type Shape, shapeOf } from "./harness/shape.ts";

let mesh: ScenarioMesh;

const sample = (name: string): string => readFileSync(new URL(`testdata/${name}`, import.meta.url), "utf8");

beforeAll(async () => {
  mesh = await ScenarioMesh.start("e2e-contract", "contracts.yaml");
  await mesh.curl("handson/curl-allow", "http://yellow:8080/");
  await mesh.curl("handson/curl-allow", "http://blue:8080/");
  await mesh.curl("handson/curl-deny", "http://yellow:8080/");
  await mesh.curl("outside/plain", "http://yellow.handson:8080/");
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

describe("ztunnel's access log", () => {
  const lines = sample("ztunnel-access-log.txt")
    .split("\n")
    .map(parseAccessLog)
    .filter((line) => line !== undefined);
  const kindOf = ({ level, fields }: AccessLogLine): string =>
    [level, fields["direction"], fields["src.workload"], fields["error"]?.replace(/[^ ]+\/[^ ]+$/, "ns/name")].join(
      " ",
    );
  const kinds = new Map(lines.map((line) => [kindOf(line), line]));
  // The samples hold a call of curl-deny from before the policy; here it is refused from the beginning.
  kinds.delete("info outbound curl-deny ");

  it("has a sample of a call, a refused call on both sides and a refused plaintext call", () => {
    expect([...kinds.keys()].toSorted()).toEqual([
      "error inbound curl-deny connection closed due to policy rejection: explicitly denied by: ns/name",
      "error inbound plain connection closed due to policy rejection: allow policies exist, but none allowed",
      "error outbound curl-deny http status: 401 Unauthorized",
      "info inbound curl-allow ",
    ]);
  });

  it.each([...kinds])(
    "writes `%s` with the same fields, in the same order, quoted alike, then its own",
    async (kind, wanted) => {
      const found = await eventually(async () => {
        const line = (await mesh.accessLog()).find((candidate) => kindOf(candidate) === kind);
        if (!line) throw new Error(`no line of the kind ${kind}`);
        return line;
      });
      expect(found.message).toBe(wanted.message);
      expect(found.names.slice(0, wanted.names.length)).toEqual(wanted.names);
      expect(wanted.names.filter((name) => found.quoted.has(name))).toEqual([...wanted.quoted]);
      expect(found.text.split("\t")).toHaveLength(wanted.text.split("\t").length);
      expect(found.text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\t/);
      for (const name of wanted.names) {
        expect(shapeOfValue(found.fields[name] ?? ""), name).toBe(shapeOfValue(wanted.fields[name] ?? ""));
      }
      const own = found.names.slice(wanted.names.length);
      expect(own.filter((name) => !["policy", "rule", "denied.identity"].includes(name))).toEqual([]);
    },
  );

  function shapeOfValue(value: string): string {
    if (/^\d+$/.test(value)) return "number";
    if (/^\d+ms$/.test(value)) return "ms";
    if (/^[\d.]+:\d+$/.test(value)) return "ip:port";
    if (value.startsWith("spiffe://")) return "spiffe";
    if (value.endsWith(".svc.cluster.local")) return "hostname";
    return "text";
  }
});

describe("ztunnel's metrics", () => {
  it("have the families, types and labels of the sample, in its order", async () => {
    const wanted = sample("ztunnel-metrics.prom");
    // Callers are on one node and servers on the other.
    const pages = ["node1", "node2"].map(
      async (node) =>
        await mesh.page(`ztunnel/${node}`, 15_020, "/stats/prometheus", "istio-system", [
          "-H",
          "accept: application/openmetrics-text",
        ]),
    );
    const found = (await Promise.all(pages)).join("");
    const missing = wanted
      .split("\n")
      .filter((line) => line.startsWith("# TYPE "))
      .filter((line) => !found.split("\n").includes(line));
    expect(missing).toEqual([]);
    const labelsOf = (page: string): Map<string, string> =>
      new Map(parseMetrics(page).map(({ name, labelNames }) => [name, labelNames.join()]));
    const own = labelsOf(found);
    for (const [name, labels] of labelsOf(wanted)) expect(own.get(name), name).toBe(labels);
  });

  it("are served as text by default, and compressed when asked", async () => {
    const head = await mesh.page("ztunnel/node2", 15_020, "/stats/prometheus", "istio-system", [
      "-D",
      "-",
      "-o",
      "/dev/null",
    ]);
    expect(head).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    expect(head).toMatch(/\r\ncontent-type: text\/plain; (version=0\.0\.4; )?charset=utf-8\r\n/i);
    for (const encoding of ["gzip", "br", "zstd"]) {
      const args = ["-H", `accept-encoding: ${encoding}`, "-D", "-", "-o", "/dev/null"];
      const compressed = await mesh.page("ztunnel/node2", 15_020, "/stats/prometheus", "istio-system", args);
      expect(compressed.toLowerCase()).toContain(`content-encoding: ${encoding}`);
    }
  });
});

describe("/config_dump", () => {
  const maps = /^(workloadState|stagedServices|services\[\]\.(ports|endpoints)|services\[\]\.endpoints\.\*\.port)$/;
  const shape = (dump: unknown): Shape => shapeOf([dump], (path) => maps.test(path));

  it("has every list, field and type of the sample", async () => {
    await mesh.apply(
      "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: handson}\nspec: {mtls: {mode: STRICT}}\n",
    );
    await using held = new AsyncDisposableStack();
    const connection = await mesh.hold("handson/curl-allow", "yellow", 9000);
    held.defer(async () => await connection.close());
    await connection.echo();
    const wanted = JSON.parse(sample("ztunnel-config-dump.json")) as Record<string, unknown>;
    await eventually(async () => {
      const found = await mesh.configDump("node2");
      expect(missingFrom(shape(found), shape(wanted))).toEqual([]);
      const policies = found["policies"] as { name: string }[];
      expect(policies.map(({ name }) => name)).toContain("istio_converted_static_strict");
    });
  });

  it("says of like objects what the sample says", async () => {
    const wanted = JSON.parse(sample("ztunnel-config-dump.json")) as Dump;
    const found = (await mesh.configDump("node1")) as unknown as Dump;
    const pick = (dump: Dump, name: string): unknown => dump.policies.find((policy) => policy.name === name);
    expect(pick(found, "istio_converted_static_strict")).toEqual(pick(wanted, "istio_converted_static_strict"));
    expect(pick(found, "need-identity")).toEqual(pick(wanted, "need-identity"));
    const matches = (dump: Dump): unknown =>
      dump.policies
        .find(({ name }) => name === "layer4-authz")
        ?.rules.map((rule) => [...rule].map((clause) => JSON.stringify(clause)).toSorted());
    expect(matches(found)).toEqual(matches(wanted));
    const workload = (dump: Dump): unknown => {
      const { node, workloadIps, authorizationPolicies, ...rest } =
        dump.workloads.find(({ name }) => name === "curl-allow") ?? {};
      expect({ node, workloadIps, authorizationPolicies }).not.toContain(undefined);
      return rest;
    };
    expect(workload(found)).toEqual(workload(wanted));
    const service = (dump: Dump): unknown => {
      // Our own field says by which rule the waypoint was bound.
      const { vips, endpoints, hairpinBinding: _, ...rest } = dump.services.find(({ name }) => name === "blue") ?? {};
      expect([vips, endpoints]).not.toContain(undefined);
      return rest;
    };
    expect(service(found)).toEqual(service(wanted));
  });

  interface Dump {
    readonly policies: readonly { readonly name: string; readonly rules: readonly (readonly unknown[])[] }[];
    readonly workloads: readonly Readonly<Record<string, unknown>>[];
    readonly services: readonly Readonly<Record<string, unknown>>[];
  }

  it("holds no private key", async () => {
    const text = await mesh.page("ztunnel/node1", 15_000, "/config_dump");
    const decoded = [...text.matchAll(/"pem":\s*"([^"]+)"/g)].map(([, pem = ""]) =>
      Buffer.from(pem, "base64").toString(),
    );
    expect(decoded.length).toBeGreaterThan(0);
    expect(decoded.join("")).toContain("BEGIN CERTIFICATE");
    expect(text + decoded.join("")).not.toContain("PRIVATE KEY");
  });
});

describe("a waypoint's metrics", () => {
  it("tell each request with reporter=waypoint, caller, service and workload", async () => {
    const page = await mesh.page("waypoint/waypoint", 15_020, "/stats/prometheus", "handson");
    const [series] = parseMetrics(page).filter(({ name }) => name === "istio_requests_total");
    expect(series?.labels).toMatchObject({
      reporter: "waypoint",
      source_workload: "curl-allow",
      source_principal: "spiffe://cluster.local/ns/handson/sa/curl-allow",
      destination_workload: "blue",
      destination_service: "blue.handson.svc.cluster.local",
      destination_service_name: "blue",
      request_protocol: "http",
      response_code: "200",
      response_flags: "-",
      connection_security_policy: "mutual_tls",
    });
    const names = new Set(parseMetrics(page).map(({ name }) => name));
    for (const family of ["istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"]) {
      expect(names).toContain(`${family}_bucket`);
      expect(names).toContain(`${family}_count`);
    }
  });
});
