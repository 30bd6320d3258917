import { ConfigError } from "@hairpin/shared/process";
import { describe, expect, test } from "vitest";
import { readConfig } from "./config.ts";

const enough = { HAIRPIN_SOURCE: "store:/run/store.sock", CA_DIR: "/ca", TOKEN_KEY: "/key.pem" };
const readFile = (path: string): string => {
  if (path === "/key.pem") return "PEM";
  throw new Error(`ENOENT: ${path}`);
};

describe("readConfig", () => {
  test("needs only a source, a CA folder and a token key; everything else is Istio's default", () => {
    const config = readConfig(enough, readFile);
    expect(config).toMatchObject({
      source: { kind: "store", socketPath: "/run/store.sock" },
      localAuthority: { caDir: "/ca", tokenKeyPem: "PEM" },
      maxCertificateTtlMs: 24 * 3600 * 1000,
      ports: { secureXds: 15012, plaintextXds: undefined, metrics: 15014, readiness: 8080 },
      mesh: {
        clusterId: "Kubernetes",
        clusterDomain: "cluster.local",
        trustDomain: "cluster.local",
        rootNamespace: "istio-system",
        network: "",
        trustedNodeAccounts: [{ namespace: "istio-system", serviceAccount: "ztunnel" }],
      },
    });
  });

  test("reads every setting", () => {
    const config = readConfig(
      {
        ...enough,
        HAIRPIN_SOURCE: "manifests:/etc/mesh:x",
        CA_TRUSTED_NODE_ACCOUNTS: "a/b, c/d",
        SECRET_TTL: "1h",
        PLAINTEXT_XDS: "true",
        TRUST_DOMAIN: "example.org",
        LISTEN_IP: "10.0.0.1",
      },
      readFile,
    );
    expect(config.source).toEqual({ kind: "manifests", folder: "/etc/mesh:x" });
    expect(config.mesh.trustedNodeAccounts).toHaveLength(2);
    expect(config.mesh.trustDomain).toBe("example.org");
    expect(config.maxCertificateTtlMs).toBe(3_600_000);
    expect(config.ports.plaintextXds).toBe(15010);
    expect(config.listenIp).toBe("10.0.0.1");
  });

  test("on Kubernetes needs neither CA folder nor token key, but a way to the API server", () => {
    const inPod = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "6443", POD_NAME: "control-abc" };
    expect(readConfig({ HAIRPIN_SOURCE: "kubernetes", WAYPOINT_IMAGE: "hairpin:1", ...inPod })).toMatchObject({
      source: { kind: "kubernetes", server: { kind: "in-cluster", host: "10.96.0.1", port: 6443 } },
      localAuthority: undefined,
      replicaName: "control-abc",
    });
    expect(
      readConfig({ HAIRPIN_SOURCE: "kubernetes:/home/me/.kube/config", WAYPOINT_IMAGE: "hairpin:1" }).source,
    ).toEqual({
      kind: "kubernetes",
      server: { kind: "kubeconfig", path: "/home/me/.kube/config" },
    });
    expect(() => readConfig({ HAIRPIN_SOURCE: "kubernetes" })).toThrow(/needs a kubeconfig outside of a cluster/);
    expect(() => readConfig({ HAIRPIN_SOURCE: "kubernetes" })).toThrow(/WAYPOINT_IMAGE is required/);
  });

  test("tells all mistakes at once", () => {
    const wrong = {
      HAIRPIN_SOURCE: "etcd:/x",
      CA_TRUSTED_NODE_ACCOUNTS: "ztunnel",
      SECRET_TTL: "1y",
      TOKEN_KEY: "/none",
    };
    const mistakes = ((): readonly string[] => {
      try {
        readConfig(wrong, readFile);
        return [];
      } catch (error) {
        return error instanceof ConfigError ? error.mistakes.map(({ variable }) => variable) : [];
      }
    })();
    expect([...mistakes].sort()).toEqual([
      "CA_DIR",
      "CA_TRUSTED_NODE_ACCOUNTS",
      "HAIRPIN_SOURCE",
      "SECRET_TTL",
      "TOKEN_KEY",
    ]);
  });
});
