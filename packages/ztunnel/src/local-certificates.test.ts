import type { Certificate } from "@hairpin/shared/identity";
import { formatSpiffeId, type Identity } from "@hairpin/shared/model";
import { ManualClock, TestAuthority } from "@hairpin/testkit";
import { createNodeTlsEngine } from "@hairpin/wire";
import { describe, expect, it } from "vitest";
import { LocalCertificates } from "./local-certificates.ts";
import { meshOf } from "./testing/mesh.ts";

const pod = (name: string, rest: string): string =>
  `- { uid: Kubernetes//Pod/ns/${name}, name: ${name}, namespace: ns, trustDomain: cluster.local, workloadIps: [], services: {}, ${rest} }\n`;

function harness(yaml: string) {
  const mesh = meshOf(`workloads:\n${yaml}`);
  const authority = new TestAuthority();
  const prefetched: string[] = [];
  const forgotten: string[] = [];
  const issued = new Map<string, Certificate>();
  let failure: Error | undefined;
  const store = {
    async fetch(identity: Identity) {
      if (failure) throw failure;
      const key = formatSpiffeId(identity);
      const certificate = issued.get(key) ?? authority.issue(identity);
      issued.set(key, certificate);
      return certificate;
    },
    prefetch: (identity: Identity) => void prefetched.push(identity.serviceAccount),
    forget: (identity: Identity) => void forgotten.push(identity.serviceAccount),
  };
  const clock = new ManualClock();
  const certificates = new LocalCertificates({ store, tls: createNodeTlsEngine(), mesh, clock }, "here");
  const renew = (identity: Identity): void => void issued.set(formatSpiffeId(identity), authority.issue(identity));
  const failWith = (error: Error): void => void (failure = error);
  const remove = (...names: string[]): void =>
    void mesh.applyAddress({
      upserts: [],
      removed: names.map((name) => `Kubernetes//Pod/ns/${name}`),
      undecodable: [],
      firstOfStream: false,
    });
  return { mesh, prefetched, forgotten, certificates, authority, renew, failWith, remove };
}

describe("LocalCertificates", () => {
  it("fetches in advance for tunnelled workloads of this node only, once an identity", () => {
    const { certificates, prefetched } = harness(
      pod("a", "node: here, serviceAccount: one, protocol: HBONE") +
        pod("b", "node: here, serviceAccount: one, protocol: HBONE") +
        pod("c", "node: here, serviceAccount: native, protocol: TCP, nativeTunnel: true") +
        pod("d", "node: here, serviceAccount: plain, protocol: TCP") +
        pod("e", "node: there, serviceAccount: far, protocol: HBONE"),
    );
    certificates.watch();
    expect(prefetched.toSorted()).toEqual(["native", "one"]);
  });

  it("fetches for a workload that becomes captured", () => {
    const { certificates, prefetched, mesh } = harness(pod("a", "node: here, serviceAccount: one, protocol: TCP"));
    certificates.watch();
    expect(prefetched).toEqual([]);
    const captured = meshOf(`workloads:\n${pod("a", "node: here, serviceAccount: one, protocol: HBONE")}`);
    mesh.loadStateFile({ workloads: [...captured.workloads()], services: [], policies: [] });
    expect(prefetched).toEqual(["one"]);
  });

  it("forgets an identity with its last workload", () => {
    const { certificates, forgotten, remove } = harness(
      pod("a", "node: here, serviceAccount: one, protocol: HBONE") +
        pod("b", "node: here, serviceAccount: one, protocol: HBONE"),
    );
    certificates.watch();
    remove("a");
    expect(forgotten).toEqual([]);
    remove("b");
    expect(forgotten).toEqual(["one"]);
  });

  it("does nothing more once it stopped watching", () => {
    const { certificates, forgotten, remove } = harness(pod("a", "node: here, serviceAccount: one, protocol: HBONE"));
    certificates.watch()();
    remove("a");
    expect(forgotten).toEqual([]);
  });

  it("makes one TLS context a certificate", async () => {
    const { certificates, authority, renew } = harness(pod("a", "node: here, serviceAccount: one, protocol: HBONE"));
    const identity = authority.identity("ns/one");
    const first = await certificates.contextFor(identity);
    expect(await certificates.contextFor(identity)).toBe(first);
    renew(identity);
    expect(await certificates.contextFor(identity)).not.toBe(first);
  });

  it("says whose certificate is missing, and why", async () => {
    const { certificates, authority, failWith } = harness(pod("a", "node: here, serviceAccount: one, protocol: HBONE"));
    failWith(new Error("the CA is away"));
    await expect(certificates.contextFor(authority.identity("ns/one"))).rejects.toMatchObject({
      code: "CERTIFICATE_UNAVAILABLE",
      message: "identity error: no certificate for spiffe://cluster.local/ns/ns/sa/one: the CA is away",
    });
  });
});
