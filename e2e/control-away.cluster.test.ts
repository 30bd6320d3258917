// The control plane goes away for a while, and its root certificate changes, under load.
// E2E_CONTROL_AWAY_SECONDS: how long; 60 unless told. The long form is 300.

import { X509Certificate } from "node:crypto";
import type { CertificateDump } from "@hairpin/shared/identity";
import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readControlAwaySeconds } from "./harness/cluster-config.ts";
import { Installation, rootNamespace } from "./harness/installation.ts";
import { isServed, Load } from "./harness/load.ts";
import { cluster, type PodName, report, ScenarioMesh } from "./harness/scenario-mesh.ts";

const controlAwaySeconds = readControlAwaySeconds();
const client: PodName = "load/client";
const url = "http://server.load/";
/** Time for every kubelet to bring the new root to the proxies; they are touched, so that it need not be minutes. */
const introductionSeconds = 45;
const changeTimeoutMs = 240_000;

let mesh: ScenarioMesh;
const installation = new Installation(cluster);

beforeAll(async () => {
  await installation.whenReady();
  mesh = await ScenarioMesh.start("control-away", "under-load.yaml");
});
afterAll(async () => await mesh[Symbol.asyncDispose]());

/** A server that comes late, with an account of its own. */
function newcomer(name: string): string {
  return `
apiVersion: v1
kind: ServiceAccount
metadata: { name: ${name}, namespace: load }
---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: load, labels: { app: server } }
spec:
  nodeName: node1
  serviceAccountName: ${name}
  terminationGracePeriodSeconds: 6
  containers:
    - name: main
      command: [node, --max-old-space-size=48, $(HAIRPIN_HOME)/e2e/apps/echo.ts]
      readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }
      lifecycle: { preStop: { sleep: { seconds: 4 } } }
`;
}

/** Waits until a newcomer answers calls of the Service. */
async function whenCalled(load: Load, name: string, since: number): Promise<number> {
  return (await load.fresh.first(since, ({ body = "" }) => body.includes(`"pod":"${name}"`), 60_000)).at;
}

describe("a control plane", () => {
  it(
    "that is away costs no call, and pods that come and go afterwards are served",
    async () => {
      const replicas = await installation.controlReplicas();
      const load = await Load.start(mesh, client, url);
      const direct = await Load.start(mesh, client, `http://${await mesh.podIp("load/server-2")}:8080/`);
      await installation.scaleControl(0);
      const awayAt = Date.now();
      try {
        while (Date.now() - awayAt < controlAwaySeconds * 1000) await load.more(100);
      } finally {
        await installation.scaleControl(replicas);
      }
      const backAt = Date.now();
      report(`control away for ${backAt - awayAt} ms`);
      await mesh.apply(newcomer("late"));
      report(
        `control back: a new pod of the Service is called after ${(await whenCalled(load, "late", backAt)) - backAt} ms`,
      );
      await mesh.delete(newcomer("late"));
      await Promise.all([load.more(50), direct.more(50)]);
      const results = [await load.stop("control away"), await direct.stop("control away, by pod IP")];
      for (const { fresh, keptAlive } of results) expect([...fresh.failed, ...keptAlive.failed]).toEqual([]);
    },
    controlAwaySeconds * 1000 + 120_000,
  );
});

/** Certificates that a pod's proxies trust, as fingerprints. */
async function roots(namespace: string): Promise<readonly string[]> {
  const found = await mesh.object("ConfigMap", `${namespace}/istio-ca-root-cert`);
  const pem = (found as { readonly data?: Record<string, string> }).data?.["root-cert.pem"] ?? "";
  return (pem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? []).map(
    (text) => new X509Certificate(text).fingerprint256,
  );
}

/** The root that signed the certificate which ztunnel presents for an account on node1, as fingerprint. */
async function rootOf(account: string): Promise<string> {
  const { certificates } = (await mesh.configDump("node1")) as { readonly certificates: readonly CertificateDump[] };
  const found = certificates.find(({ identity }) => identity === `spiffe://cluster.local/ns/load/sa/${account}`);
  const decode = ({ pem }: { readonly pem: string }): X509Certificate =>
    new X509Certificate(Buffer.from(pem, "base64").toString("utf8"));
  const [leaf] = (found?.certChain ?? []).map(decode);
  if (leaf === undefined) throw new Error(`ztunnel has no certificate of ${account}`);
  const root = (found?.rootCerts ?? []).map(decode).find((candidate) => leaf.verify(candidate.publicKey));
  return root?.fingerprint256 ?? "";
}

describe("a root certificate", () => {
  it(
    "that is replaced costs no call: both are trusted in between, and new certificates come from the new one",
    async () => {
      const values = await installation.values();
      const { env: _env, ...control } = (values["control"] ?? {}) as Record<string, unknown>;
      const env = [{ name: "CA_ROOT_INTRODUCTION", value: `${introductionSeconds}s` }];
      await installation.upgrade({ ...values, control: { ...control, env } });
      try {
        const load = await Load.start(mesh, client, url);
        const before = await roots("load");
        const changedAt = Date.now();
        await installation.kubectl.text(["delete", "secret", "istio-ca-secret", "-n", rootNamespace]);
        const both = await eventually(
          async () => {
            const found = await roots("load");
            expect(found.length).toBe(before.length + 1);
            return found;
          },
          { timeoutMs: 60_000, intervalMs: 250 },
        );
        report(`root changed: both trusted in the namespaces after ${Date.now() - changedAt} ms`);
        expect(both).toEqual(expect.arrayContaining([...before]));
        const added = both.find((root) => !before.includes(root)) ?? "";
        await installation.touchZtunnels();
        while (Date.now() - changedAt < (introductionSeconds + 15) * 1000) await load.more(50);
        const appliedAt = await mesh.apply(newcomer("later"));
        await whenCalled(load, "later", appliedAt);
        expect(await rootOf("later")).toBe(added);
        expect(before).toContain(await rootOf("client"));
        report(
          `root changed: a new pod has a certificate of the new root after ${Date.now() - changedAt} ms, and is called`,
        );
        await mesh.delete(newcomer("later"));
        await load.more(50);
        const { fresh, keptAlive } = await load.stop("root changed");
        expect([...fresh.failed, ...keptAlive.failed]).toEqual([]);
      } finally {
        await installation.upgrade(values);
      }
      expect((await mesh.calls(client, { url, count: 5 })).every(isServed)).toBe(true);
    },
    changeTimeoutMs,
  );
});
