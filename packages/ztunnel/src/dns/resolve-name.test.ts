import { MeshState } from "@hairpin/shared/discovery";
import type { Service, Workload } from "@hairpin/shared/model";
import { systemClock } from "@hairpin/shared/process";
import { aService, aWorkload } from "@hairpin/testkit";
import { describe, expect, it } from "vitest";
import { candidateNames, withWildcards } from "./candidate-names.ts";
import { resolveName } from "./resolve-name.ts";

const local = (ip: string) => ({ network: "", ip });

function kubernetes(name: string, namespace: string, vips: readonly string[], more: Partial<Service> = {}): Service {
  const hostname = `${name}.${namespace}.svc.cluster.local`;
  return aService({ name, namespace, hostname, vips: vips.map(local), ipFamilies: "AUTOMATIC", ...more });
}

function serviceEntry(
  hostname: string,
  namespace: string,
  vips: readonly string[],
  more: Partial<Service> = {},
): Service {
  const base = { name: hostname, namespace, hostname, canonical: false, ipFamilies: "AUTOMATIC" } as const;
  return aService({ ...base, vips: vips.map(local), ...more });
}

function endpoint(name: string, service: string, addresses: readonly string[], more: Partial<Workload> = {}): Workload {
  const services = new Map([[service, []]]);
  return aWorkload({ uid: `Kubernetes//Pod/ns/${name}`, name, addresses, services, ...more });
}

const headless = "ns/headless.ns.svc.cluster.local";
const services: readonly Service[] = [
  kubernetes("web", "ns", ["10.96.0.1"]),
  kubernetes("web", "other", ["10.96.0.2"]),
  kubernetes("dual", "ns", ["10.96.0.3", "fd00::3"], { ipFamilies: "DUAL" }),
  kubernetes("four", "ns", ["10.96.0.4", "fd00::4"], { ipFamilies: "IPV4_ONLY" }),
  kubernetes("six", "ns", ["10.96.0.5", "fd00::5"], { ipFamilies: "IPV6_ONLY" }),
  kubernetes("headless", "ns", []),
  kubernetes("empty", "ns", []),
  kubernetes("svc", "ns", ["10.96.0.6"]),
  kubernetes("private", "other", ["10.96.0.7"], { visibility: "NAMESPACE" }),
  kubernetes("far", "ns", [], { vips: [{ network: "net-2", ip: "10.96.0.8" }] }),
  kubernetes("spread", "ns", [], { vips: [local("10.96.0.9"), { network: "net-2", ip: "10.96.0.10" }] }),
  kubernetes("www", "example", ["10.96.0.11"]),
  kubernetes("Upper", "ns", ["10.96.0.12"]),
  serviceEntry("api.example.com", "ns", ["240.240.0.1"]),
  serviceEntry("no-address.example.com", "ns", []),
  serviceEntry("*.wild.example.com", "ns", ["240.240.0.2"]),
  serviceEntry("exact.wild.example.com", "ns", ["240.240.0.3"]),
  serviceEntry("*.deep.wild.example.com", "ns", ["240.240.0.4"]),
  serviceEntry("*.test", "ns", ["240.240.0.5"]),
  serviceEntry("*.svc.cluster.local", "broad", [], { vips: [local("240.240.0.6")], visibility: "NAMESPACE" }),
  // Of one host name, in the order of their arrival.
  serviceEntry("shared.example.com", "third", ["240.240.1.1"]),
  serviceEntry("shared.example.com", "canonical", ["240.240.1.2"], { canonical: true }),
  serviceEntry("shared.example.com", "ns", ["240.240.1.3"]),
  serviceEntry("first.example.com", "third", ["240.240.2.1"]),
  serviceEntry("first.example.com", "other", ["240.240.2.2"]),
  serviceEntry("fallback.example.com", "ns", []),
  serviceEntry("fallback.example.com", "third", ["240.240.3.1"]),
  serviceEntry("hidden.example.com", "third", ["240.240.4.1"], { visibility: "NAMESPACE", canonical: true }),
  serviceEntry("hidden.example.com", "other", ["240.240.4.2"]),
];
const workloads: readonly Workload[] = [
  endpoint("h-1", headless, ["10.0.0.1", "fd00:1::1"]),
  endpoint("h-2", headless, ["10.0.0.2", "10.0.0.3"]),
  endpoint("h-3", headless, ["fd00:1::3"]),
  endpoint("h-sick", headless, ["10.0.0.4"], { healthy: false }),
  endpoint("h-far", headless, ["10.0.0.5"], { network: "net-2" }),
];

const mesh = new MeshState({ clock: systemClock });
mesh.loadStateFile({ services, workloads, policies: [] });

interface Row {
  readonly ask: string;
  readonly from?: string;
  readonly network?: string;
  readonly family?: 4 | 6;
  readonly ipv6?: boolean;
  /** Undefined: not ours. */
  readonly expect: readonly string[] | undefined;
  readonly alias?: string;
  readonly why: string;
}

const rows: readonly Row[] = [
  { why: "a full name", ask: "web.ns.svc.cluster.local", expect: ["10.96.0.1"] },
  { why: "a full name of another namespace", ask: "web.other.svc.cluster.local", expect: ["10.96.0.2"] },
  { why: "one label: the client's namespace", ask: "web", expect: ["10.96.0.1"] },
  { why: "one label, from another namespace", ask: "web", from: "other", expect: ["10.96.0.2"] },
  { why: "one label, from a namespace without such a service", ask: "web", from: "third", expect: undefined },
  { why: "two labels: name and namespace", ask: "web.other", expect: ["10.96.0.2"] },
  { why: "two labels that name nothing", ask: "web.nowhere", expect: undefined },
  { why: "three labels ending in svc", ask: "web.other.svc", expect: ["10.96.0.2"] },
  { why: "three labels of something else", ask: "web.other.cluster", expect: undefined },
  { why: "all but the end of the cluster domain", ask: "web.other.svc.cluster", expect: undefined },
  { why: "a service that is called svc", ask: "svc", expect: ["10.96.0.6"] },
  { why: "a service that is called svc, by namespace", ask: "svc.ns", expect: ["10.96.0.6"] },
  { why: "a service that is called svc, to svc", ask: "svc.ns.svc", expect: ["10.96.0.6"] },
  { why: "a service that arrived with capitals", ask: "upper.ns.svc.cluster.local", expect: ["10.96.0.12"] },

  { why: "no IPv6 address: known and empty", ask: "web", family: 6, expect: [] },
  { why: "dual stack, IPv4", ask: "dual", expect: ["10.96.0.3"] },
  { why: "dual stack, IPv6", ask: "dual", family: 6, expect: ["fd00::3"] },
  { why: "dual stack where IPv6 is off", ask: "dual", family: 6, ipv6: false, expect: [] },
  { why: "restricted to IPv4, IPv4", ask: "four", expect: ["10.96.0.4"] },
  { why: "restricted to IPv4, IPv6", ask: "four", family: 6, expect: [] },
  { why: "restricted to IPv6, IPv4", ask: "six", expect: [] },
  { why: "restricted to IPv6, IPv6", ask: "six", family: 6, expect: ["fd00::5"] },

  { why: "headless: one address of each healthy endpoint", ask: "headless", expect: ["10.0.0.1", "10.0.0.2"] },
  { why: "headless, IPv6", ask: "headless", family: 6, expect: ["fd00:1::1", "fd00:1::3"] },
  { why: "headless, another network's endpoint", ask: "headless", network: "net-2", expect: ["10.0.0.5"] },
  { why: "headless without endpoints: known and empty", ask: "empty", expect: [] },
  { why: "the pod of a StatefulSet", ask: "h-1.headless.ns.svc.cluster.local", from: "third", expect: undefined },
  { why: "virtual addresses of another network only", ask: "far", expect: [] },
  { why: "virtual addresses of the client's network", ask: "spread", network: "net-2", expect: ["10.96.0.10"] },
  { why: "virtual addresses of the default network", ask: "spread", expect: ["10.96.0.9"] },

  { why: "a ServiceEntry", ask: "api.example.com", expect: ["240.240.0.1"] },
  { why: "a ServiceEntry without address is the world's", ask: "no-address.example.com", expect: undefined },
  { why: "a name of the world", ask: "www.example.org", expect: undefined },
  { why: "the root", ask: "", expect: undefined },
  { why: "a wildcard", ask: "a.wild.example.com", expect: ["240.240.0.2"] },
  { why: "a wildcard covers several labels", ask: "a.b.wild.example.com", expect: ["240.240.0.2"] },
  { why: "a wildcard does not cover its own domain", ask: "wild.example.com", expect: undefined },
  { why: "an exact name beats a wildcard", ask: "exact.wild.example.com", expect: ["240.240.0.3"] },
  { why: "the narrowest wildcard wins", ask: "a.deep.wild.example.com", expect: ["240.240.0.4"] },
  {
    why: "the domain of a narrow wildcard falls to the wide one",
    ask: "deep.wild.example.com",
    expect: ["240.240.0.2"],
  },
  { why: "a wildcard itself", ask: "*.wild.example.com", expect: ["240.240.0.2"] },
  { why: "a wildcard of a top-level domain", ask: "x.test", expect: ["240.240.0.5"] },
  { why: "a wildcard over cluster names", ask: "a.b.svc.cluster.local", from: "broad", expect: ["240.240.0.6"] },
  { why: "a service beats a wildcard over it", ask: "web.ns.svc.cluster.local", from: "broad", expect: ["10.96.0.1"] },

  {
    why: "another namespace's search domain",
    ask: "api.example.com.ns.svc.cluster.local",
    from: "third",
    expect: undefined,
  },
  {
    why: "the client's search domain",
    ask: "api.example.com.other.svc.cluster.local",
    from: "other",
    expect: ["240.240.0.1"],
    alias: "api.example.com",
  },
  {
    why: "the second search domain",
    ask: "api.example.com.svc.cluster.local",
    from: "other",
    expect: ["240.240.0.1"],
    alias: "api.example.com",
  },
  {
    why: "the third search domain",
    ask: "api.example.com.cluster.local",
    expect: ["240.240.0.1"],
    alias: "api.example.com",
  },
  {
    why: "a search domain on a short name",
    ask: "web.ns.other.svc.cluster.local",
    from: "other",
    expect: ["10.96.0.1"],
    alias: "web.ns",
  },
  {
    why: "a search domain on a full name",
    ask: "web.ns.svc.cluster.local.other.svc.cluster.local",
    from: "other",
    expect: ["10.96.0.1"],
    alias: "web.ns.svc.cluster.local",
  },
  {
    why: "a search domain on a name without record of the family",
    ask: "web.ns.other.svc.cluster.local",
    from: "other",
    family: 6,
    expect: [],
    alias: "web.ns",
  },
  { why: "a search domain on a wildcard: no alias", ask: "x.test.cluster.local", expect: ["240.240.0.5"] },
  { why: "a search domain alone", ask: "ns.svc.cluster.local", from: "third", expect: undefined },
  { why: "a name that only ends like a search domain", ask: "api.example.comcluster.local", expect: undefined },

  { why: "of several, the client's namespace", ask: "shared.example.com", expect: ["240.240.1.3"] },
  { why: "of several, the canonical one", ask: "shared.example.com", from: "x", expect: ["240.240.1.2"] },
  { why: "of several, own before canonical", ask: "shared.example.com", from: "third", expect: ["240.240.1.1"] },
  { why: "of several equals, the first", ask: "first.example.com", expect: ["240.240.2.1"] },
  { why: "of several, one with an address", ask: "fallback.example.com", expect: ["240.240.3.1"] },
  { why: "of several, a visible one", ask: "hidden.example.com", expect: ["240.240.4.2"] },
  { why: "a namespace sees its own", ask: "hidden.example.com", from: "third", expect: ["240.240.4.1"] },
  { why: "a service that others cannot see", ask: "private.other.svc.cluster.local", from: "third", expect: undefined },
  { why: "a service that its own namespace sees", ask: "private", from: "other", expect: ["10.96.0.7"] },
];

describe("resolveName", () => {
  it.each(rows)(
    "$why: $ask",
    ({ ask, from = "ns", network = "", family = 4, ipv6 = true, expect: expected, alias }) => {
      const options = { clusterDomain: "cluster.local", ipv6 };
      const resolution = resolveName(mesh, { namespace: from, network }, { name: ask, family }, options);
      if (expected === undefined) {
        expect(resolution).toEqual({ kind: "unknown" });
        return;
      }
      expect(resolution).toMatchObject({ kind: "known", addresses: expected });
      expect("canonicalName" in resolution && resolution.canonicalName).toBe(alias);
    },
  );

  it("follows the cluster's domain", () => {
    const other = new MeshState({ clock: systemClock });
    const hostname = "web.ns.svc.corp.example";
    other.loadStateFile({ services: [aService({ hostname })], workloads: [], policies: [] });
    const ask = (name: string) =>
      resolveName(
        other,
        { namespace: "ns", network: "" },
        { name, family: 4 },
        { clusterDomain: "corp.example", ipv6: true },
      );
    expect(ask("web")).toMatchObject({ kind: "known", addresses: ["10.96.0.1"] });
    expect(ask("web.ns.svc.cluster.local")).toEqual({ kind: "unknown" });
  });
});

describe("candidateNames", () => {
  const names = (name: string): string[] => [...candidateNames(name, "ns", "cluster.local")].map((one) => one.name);

  it("tries each name once, the asked one first", () => {
    expect(names("web")).toEqual(["web", "web.ns.svc.cluster.local"]);
    expect(names("web.ns.svc.cluster.local")).toEqual([
      "web.ns.svc.cluster.local",
      "web",
      "web.ns",
      "web.ns.ns.svc.cluster.local",
      "web.ns.svc",
      "web.ns.svc.svc.cluster.local",
    ]);
  });

  it("says which name is left without the search domain", () => {
    const stripped = [...candidateNames("a.b.svc.cluster.local", "ns", "cluster.local")];
    expect(stripped).toContainEqual({ name: "a.b", stripped: "a.b" });
    expect(stripped).toContainEqual({ name: "a.b.ns.svc.cluster.local", stripped: "a.b" });
    expect(stripped[0]).toEqual({ name: "a.b.svc.cluster.local", stripped: undefined });
  });
});

describe("withWildcards", () => {
  it("widens label by label", () => {
    expect([...withWildcards("a.b.c")]).toEqual(["a.b.c", "*.b.c", "*.c"]);
    expect([...withWildcards("a")]).toEqual(["a"]);
    expect([...withWildcards("*.b.c")]).toEqual(["*.b.c", "*.c"]);
  });
});
