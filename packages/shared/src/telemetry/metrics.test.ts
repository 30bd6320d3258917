import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chooseExpositionFormat } from "./metric-text.ts";
import { MetricRegistry } from "./metrics.ts";
import { registerProcessMetrics } from "./process-metrics.ts";
import { completeTrafficLabels, trafficLabels } from "./traffic-labels.ts";

const openMetrics = "application/openmetrics-text; version=1.0.0";

/** Sample lines, without the registry's own. */
async function samples(registry: MetricRegistry, accept?: string): Promise<string[]> {
  const { body } = await registry.expose(accept);
  return body.split("\n").filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("hairpin_metric_"));
}

describe("MetricRegistry", () => {
  it("writes counters, gauges and histograms in Prometheus text", async () => {
    const registry = new MetricRegistry();
    const counter = registry.counter({ name: "a_total", help: "As.", labels: ["x", "y"] });
    counter.handle({ y: "2", x: "1" }).add(3);
    counter.handle({ x: "1", y: "2" }).add();
    registry.gauge({ name: "b", help: "Bs." }).handle({}).set(-1.5);
    const histogram = registry.histogram({ name: "c", help: "Cs.", labels: ["x"], buckets: [0.5, 1, 10] });
    for (const value of [0.5, 0.6, 1, 11]) histogram.handle({ x: "1" }).observe(value);
    const { contentType, body } = await registry.expose();
    expect(contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(body).toContain(`# HELP a_total As.
# TYPE a_total counter
a_total{x="1",y="2"} 4
# HELP b Bs.
# TYPE b gauge
b -1.5
# HELP c Cs.
# TYPE c histogram
c_bucket{x="1",le="0.5"} 1
c_bucket{x="1",le="1"} 3
c_bucket{x="1",le="10"} 3
c_bucket{x="1",le="+Inf"} 4
c_sum{x="1"} 13.1
c_count{x="1"} 4
`);
  });

  it("writes OpenMetrics for those who ask: family names without _total, canonical bounds, the end mark", async () => {
    const registry = new MetricRegistry();
    registry.counter({ name: "a_total", help: "As." }).handle({}).add(1);
    registry
      .histogram({ name: "c", help: "Cs.", buckets: [1] })
      .handle({})
      .observe(1);
    const { contentType, body } = await registry.expose(openMetrics);
    expect(contentType).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
    expect(body).toContain("# TYPE a counter\na_total 1\n");
    expect(body).toContain('c_bucket{le="1.0"} 1\n');
    expect(body.endsWith("# EOF\n")).toBe(true);
    expect((await registry.expose()).body).toContain("# TYPE a_total counter");
  });

  it("never takes a counter back", async () => {
    const registry = new MetricRegistry();
    const handle = registry.counter({ name: "a_total", help: "" }).handle({});
    for (const amount of [2, -1, Number.NaN, Infinity, 0]) handle.add(amount);
    expect(await samples(registry)).toEqual(["a_total 2"]);
  });

  it("shares one series beyond the cap, and counts how often that happened", async () => {
    const registry = new MetricRegistry({ maxSeriesPerMetric: 2 });
    const counter = registry.counter({ name: "a_total", help: "", labels: ["host"] });
    for (const host of ["one", "two", "three", "four", "one"]) counter.handle({ host }).add(1);
    expect(await samples(registry)).toEqual([
      'a_total{host="one"} 2',
      'a_total{host="two"} 1',
      'a_total{host="overflow"} 2',
    ]);
    expect(counter.seriesCount).toBe(3);
    expect((await registry.expose()).body).toContain('hairpin_metric_series_overflow_total{metric="a_total"} 2\n');
  });

  it("keeps label values apart and escaped, whatever they hold", async () => {
    const registry = new MetricRegistry();
    const counter = registry.counter({ name: "a_total", help: "", labels: ["x", "y"] });
    counter.handle({ x: 'a",y="b', y: "c" }).add(1);
    counter.handle({ x: "a", y: 'b",y="c' }).add(1);
    counter.handle({ x: "back\\slash\nline", y: "" }).add(1);
    expect(await samples(registry)).toEqual([
      'a_total{x="a\\",y=\\"b",y="c"} 1',
      'a_total{x="a",y="b\\",y=\\"c"} 1',
      'a_total{x="back\\\\slash\\nline",y=""} 1',
    ]);
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), fc.string(), (a, b, c, d) => {
        fc.pre(a !== c || b !== d);
        expect(counter.handle({ x: a, y: b })).not.toBe(counter.handle({ x: c, y: d }));
      }),
      { numRuns: 1_000 },
    );
  });

  it("cuts long label values", async () => {
    const registry = new MetricRegistry();
    registry
      .counter({ name: "a_total", help: "", labels: ["x"] })
      .handle({ x: "b".repeat(10_000) })
      .add(1);
    expect((await samples(registry))[0]?.length).toBeLessThan(600);
  });

  it("asks collectors for their values at each exposition", async () => {
    const registry = new MetricRegistry();
    let open = 1;
    registry.gauge({ name: "open", help: "", collect: (gauge) => gauge.handle({}).set(open) });
    expect(await samples(registry)).toEqual(["open 1"]);
    open = 2;
    expect(await samples(registry)).toEqual(["open 2"]);
  });

  it("gives the same metric for the same definition, and refuses a different one of that name", () => {
    const registry = new MetricRegistry();
    const handle = registry.counter({ name: "a_total", help: "", labels: ["x"] }).handle({ x: "1" });
    expect(registry.counter({ name: "a_total", help: "", labels: ["x"] }).handle({ x: "1" })).toBe(handle);
    expect(() => registry.counter({ name: "a_total", help: "", labels: ["y"] })).toThrow("registered already");
    expect(() => registry.gauge({ name: "a_total", help: "" })).toThrow("registered already");
  });

  it.each([
    ["a counter without _total", (r: MetricRegistry) => r.counter({ name: "a", help: "" })],
    ["a bad name", (r: MetricRegistry) => r.gauge({ name: "a-b", help: "" })],
    ["a bad label", (r: MetricRegistry) => r.gauge({ name: "a", help: "", labels: ["a b"] })],
    ["a reserved label", (r: MetricRegistry) => r.gauge({ name: "a", help: "", labels: ["__name__"] })],
    ["the bucket's label", (r: MetricRegistry) => r.histogram({ name: "a", help: "", labels: ["le"], buckets: [1] })],
    ["unsorted buckets", (r: MetricRegistry) => r.histogram({ name: "a", help: "", buckets: [2, 1] })],
    ["+Inf among the buckets", (r: MetricRegistry) => r.histogram({ name: "a", help: "", buckets: [1, Infinity] })],
  ])("refuses %s", (_, register) => {
    expect(() => register(new MetricRegistry())).toThrow();
  });

  it("lets other work go on during a large scrape", async () => {
    const registry = new MetricRegistry();
    const counter = registry.counter({ name: "a_total", help: "", labels: trafficLabels });
    for (let i = 0; i < 5_000; i++) counter.handle(completeTrafficLabels({ source_workload: `w${i}` })).add(1);
    let turns = 0;
    const count = (): void => {
      turns++;
      immediate = setImmediate(count);
    };
    let immediate = setImmediate(count);
    await registry.expose();
    clearImmediate(immediate);
    expect(turns).toBeGreaterThanOrEqual(9);
  });
});

describe("the TCP metrics of Istio", () => {
  it("have ztunnel's labels in ztunnel's order, complete", async () => {
    const registry = new MetricRegistry();
    const opened = registry.counter({
      name: "istio_tcp_connections_opened_total",
      help: "The total number of TCP connections opened.",
      labels: trafficLabels,
    });
    const known = { reporter: "source", source_workload: "", response_flags: "-", request_protocol: "tcp" };
    opened.handle(completeTrafficLabels(known)).add(1);
    // A line of real ztunnel, its values replaced.
    expect(await samples(registry)).toEqual([
      'istio_tcp_connections_opened_total{reporter="source",source_workload="unknown",source_canonical_service="unknown",source_canonical_revision="unknown",source_workload_namespace="unknown",source_principal="unknown",source_app="unknown",source_version="unknown",source_cluster="unknown",destination_service="unknown",destination_service_namespace="unknown",destination_service_name="unknown",destination_workload="unknown",destination_canonical_service="unknown",destination_canonical_revision="unknown",destination_workload_namespace="unknown",destination_principal="unknown",destination_app="unknown",destination_version="unknown",destination_cluster="unknown",request_protocol="tcp",response_flags="-",connection_security_policy="unknown",source_region="unknown",source_zone="unknown",destination_region="unknown",destination_zone="unknown"} 1',
    ]);
  });
});

describe("registerProcessMetrics", () => {
  it("adds the process's figures, under the same names before and after a scrape in OpenMetrics", async () => {
    const registry = new MetricRegistry();
    registerProcessMetrics(registry);
    const before = (await registry.expose()).body;
    const open = (await registry.expose(openMetrics)).body;
    const after = (await registry.expose()).body;
    for (const body of [before, open, after]) {
      expect(body).toMatch(/^process_open_fds [0-9]+$/m);
      expect(body).toMatch(/^process_max_fds [0-9]+$/m);
      expect(body).toMatch(/^hairpin_log_lines_dropped_total [0-9]+$/m);
      expect(body).toMatch(/^process_cpu_seconds_total [0-9.e-]+$/m);
    }
    const names = (body: string): string[] => body.match(/^# TYPE .*$/gm) ?? [];
    expect(names(after)).toEqual(names(before));
  });

  it("writes each family once and each sample below its family", async () => {
    const registry = new MetricRegistry();
    registerProcessMetrics(registry);
    for (const accept of ["", openMetrics]) {
      const { body } = await registry.expose(accept);
      const families = [...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => match[1] ?? "");
      expect(new Set(families).size).toBe(families.length);
      let family = "";
      for (const line of body.split("\n")) {
        family = /^# TYPE (\S+)/.exec(line)?.[1] ?? family;
        if (line !== "" && !line.startsWith("#")) expect(line.startsWith(family)).toBe(true);
      }
    }
  });
});

describe("chooseExpositionFormat", () => {
  it.each([
    [undefined, false],
    ["*/*", false],
    ["text/plain", false],
    [openMetrics, true],
    // What Prometheus sends.
    [
      "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
      true,
    ],
    ["text/plain;q=1,application/openmetrics-text;q=0.5", false],
    ["application/openmetrics-text;q=0", false],
    ["APPLICATION/OPENMETRICS-TEXT", true],
  ])("of %j is OpenMetrics: %s", (accept, expected) => {
    expect(chooseExpositionFormat(accept).openMetrics).toBe(expected);
  });
});

describe("MetricRegistry: changes carried to another registry", () => {
  const labels = ["x"] as const;
  function worker() {
    const registry = new MetricRegistry();
    const counter = registry.counter({ name: "a_total", help: "As.", labels });
    const gauge = registry.gauge({ name: "b", help: "Bs.", labels });
    const histogram = registry.histogram({ name: "c", help: "Cs.", labels, buckets: [1, 2] });
    registry.counter({ name: "d_total", help: "Ds." });
    const carry = (to: MetricRegistry): void => to.addChanges(structuredClone(registry.takeChanges()));
    return { counter: counter.handle({ x: "1" }), gauge: gauge.handle({ x: "1" }), histogram, carry };
  }

  it("are summed over registries, counted once, and written as if they were its own", async () => {
    const main = new MetricRegistry();
    const [one, two] = [worker(), worker()];
    one.counter.add(3);
    one.gauge.add(2);
    two.counter.add(4);
    two.gauge.add(5);
    one.histogram.handle({ x: "1" }).observe(0.5);
    two.histogram.handle({ x: "1" }).observe(7);
    for (const each of [one, two]) each.carry(main);
    one.counter.add(1);
    one.gauge.add(-2);
    one.histogram.handle({ x: "1" }).observe(2);
    for (const each of [one, two]) each.carry(main);
    expect(await samples(main)).toEqual([
      'a_total{x="1"} 8',
      'b{x="1"} 5',
      'c_bucket{x="1",le="1"} 1',
      'c_bucket{x="1",le="2"} 2',
      'c_bucket{x="1",le="+Inf"} 3',
      'c_sum{x="1"} 9.5',
      'c_count{x="1"} 3',
      "d_total 0",
    ]);
  });

  it("name only what changed since the time before", () => {
    const { counter, carry } = worker();
    const seen: unknown[] = [];
    const main = { addChanges: (changes: unknown) => seen.push(changes) } as unknown as MetricRegistry;
    carry(main);
    carry(main);
    counter.add(2);
    carry(main);
    expect(seen.slice(1)).toEqual([[], [expect.objectContaining({ name: "a_total", series: [['x="1"', 2]] })]]);
  });

  it("stay under the cap of the registry that takes them", async () => {
    const main = new MetricRegistry({ maxSeriesPerMetric: 1 });
    const registry = new MetricRegistry();
    const counter = registry.counter({ name: "a_total", help: "As.", labels });
    for (const x of ["1", "2", "3"]) counter.handle({ x }).add(1);
    main.addChanges(registry.takeChanges());
    expect(await samples(main)).toEqual(['a_total{x="1"} 1', 'a_total{x="overflow"} 2']);
  });

  it("name a gauge that is back at 0 before anybody looked", async () => {
    const main = new MetricRegistry();
    const { gauge, carry } = worker();
    gauge.add(1);
    gauge.add(-1);
    carry(main);
    expect(await samples(main)).toContain('b{x="1"} 0');
  });

  it("are brought in before an exposition", async () => {
    const main = new MetricRegistry();
    const { counter, carry } = worker();
    main.addSource(async () => {
      counter.add(1);
      carry(main);
    });
    expect(await samples(main)).toContain('a_total{x="1"} 1');
    expect(await samples(main)).toContain('a_total{x="1"} 2');
  });
});
