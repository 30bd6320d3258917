import { describe, expect, it } from "vitest";
import { object, pod, shopStore } from "../testing/objects.ts";
import { planDnsRecords } from "./dns-records.ts";
import { answerDnsQuery } from "./dns-server.ts";
import { planServiceRules, serviceNameLabel } from "./plan-service-rules.ts";
import { serviceRules } from "./service-rules.ts";

function storeWithService(spec: Record<string, unknown>) {
  const store = shopStore();
  store.create(object("v1", "Service", "cart", { spec }));
  store.create(pod({ name: "a", ip: "10.244.1.2" }));
  store.create(
    object("discovery.k8s.io/v1", "EndpointSlice", "cart-1", {
      metadata: { labels: { [serviceNameLabel]: "cart" } },
      addressType: "IPv4",
      ports: [{ name: "http", port: 8080 }],
      endpoints: [
        { addresses: ["10.244.1.2"], conditions: { ready: true } },
        { addresses: ["10.244.1.3"], conditions: { ready: false } },
        { addresses: ["10.244.2.2"] },
      ],
    }),
  );
  return store;
}

const port = { name: "http", port: 80 };

describe("planServiceRules", () => {
  it("sends a Service's port to its ready endpoints", () => {
    const store = storeWithService({ clusterIP: "10.96.0.20", ports: [port, { name: "other", port: 81 }] });
    expect(planServiceRules(store)).toEqual([
      {
        vip: "10.96.0.20",
        protocol: "tcp",
        port: 80,
        backends: [
          { ip: "10.244.1.2", port: 8080 },
          { ip: "10.244.2.2", port: 8080 },
        ],
      },
      { vip: "10.96.0.20", protocol: "tcp", port: 81, backends: [] },
    ]);
  });

  it("has nothing to translate for a headless Service", () => {
    expect(planServiceRules(storeWithService({ clusterIP: "None", ports: [port] }))).toEqual([]);
  });
});

describe("serviceRules", () => {
  it("chooses at random among several endpoints, names a single one, and masquerades an endpoint that calls itself", () => {
    const text = serviceRules({
      rules: [
        {
          vip: "10.96.0.20",
          protocol: "tcp",
          port: 80,
          backends: [
            { ip: "10.1.0.1", port: 8080 },
            { ip: "10.1.0.2", port: 8081 },
          ],
        },
        { vip: "fd00::1", protocol: "udp", port: 53, backends: [{ ip: "fd00::2", port: 53 }] },
        { vip: "10.96.0.21", protocol: "tcp", port: 80, backends: [] },
      ],
      serviceRanges: ["10.96.0.0/16"],
    });
    expect(text).toContain(
      "ip daddr 10.96.0.20 tcp dport 80 dnat ip to numgen random mod 2 map { 0 : 10.1.0.1 . 8080, 1 : 10.1.0.2 . 8081 }",
    );
    expect(text).toContain("ip6 daddr fd00::1 udp dport 53 dnat ip6 to [fd00::2]:53");
    expect(text).toContain("ip saddr 10.1.0.1 ip daddr 10.1.0.1 ct status dnat masquerade");
    expect(text).not.toContain("10.96.0.21");
    expect(text).toContain("ip daddr 10.96.0.0/16 meta l4proto tcp reject with tcp reset");
  });
});

describe("cluster DNS", () => {
  const records = (spec: Record<string, unknown>) => planDnsRecords(storeWithService(spec), "cluster.local");
  const ask = (name: string, type: "A" | "AAAA", spec: Record<string, unknown>) =>
    answerDnsQuery({ type: "query", id: 7, questions: [{ name, type }] }, records(spec));

  it("answers a Service's address, whatever the case of the name", () => {
    const answer = ask("Cart.shop.SVC.cluster.local", "A", { clusterIP: "10.96.0.20" });
    expect(answer).toMatchObject({ id: 7, answers: [{ type: "A", data: "10.96.0.20" }] });
  });

  it("answers the ready endpoints of a headless Service", () => {
    const answer = ask("cart.shop.svc.cluster.local", "A", { clusterIP: "None" });
    expect(answer.answers?.map((record) => ("data" in record ? record.data : ""))).toEqual([
      "10.244.1.2",
      "10.244.2.2",
    ]);
  });

  it("has no error and no record for the other family, NXDOMAIN for unknown names", () => {
    const noRecord = ask("cart.shop.svc.cluster.local", "AAAA", { clusterIP: "10.96.0.20" });
    expect({ code: (noRecord.flags ?? 0) & 15, answers: noRecord.answers }).toEqual({ code: 0, answers: [] });
    expect((ask("example.com", "A", {}).flags ?? 0) & 15).toBe(3);
  });
});
