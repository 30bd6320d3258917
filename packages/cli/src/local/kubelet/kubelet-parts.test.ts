import { createPublicKey, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { object, pod, shopStore } from "../testing/objects.ts";
import { containerEnvironment, expandVariables } from "./container-environment.ts";
import { ContainerSlot } from "./container-slot.ts";
import { LogFile } from "./log-file.ts";
import { hostnameOf, hostsFile, resolvConf } from "./pod-files.ts";
import { planPodStatus } from "./pod-status.ts";
import { volumeMounts, writeVolumes } from "./pod-volumes.ts";
import { ProbeCounter } from "./probe-runner.ts";
import { TokenIssuer } from "./token-issuer.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kubelet-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe("containerEnvironment", () => {
  const facts = { podIps: ["10.0.0.1"], hostIp: "172.30.0.2" };

  it("takes values, fields of the pod and keys of ConfigMaps, and expands references", () => {
    const store = shopStore();
    store.create(object("v1", "ConfigMap", "settings", { data: { colour: "blue", SIZE: "7" } }));
    const owner = pod({ name: "cart", labels: { app: "cart" }, spec: { nodeName: "node1" } });
    const environment = containerEnvironment(
      {
        name: "main",
        envFrom: [{ prefix: "P_", configMapRef: { name: "settings" } }],
        env: [
          { name: "COLOUR", valueFrom: { configMapKeyRef: { name: "settings", key: "colour" } } },
          { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
          { name: "NODE", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
          { name: "APP", valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
          { name: "URL", value: "http://$(IP)/$(APP)?$$(IP)&$(UNKNOWN)" },
        ],
      },
      owner,
      store,
      facts,
    );
    expect(environment).toMatchObject({
      P_SIZE: "7",
      COLOUR: "blue",
      NODE: "node1",
      URL: "http://10.0.0.1/cart?$(IP)&$(UNKNOWN)",
      HOSTNAME: "cart",
    });
  });

  it("says which ConfigMap or field is missing", () => {
    const env = [{ name: "X", valueFrom: { configMapKeyRef: { name: "none", key: "k" } } }];
    expect(() => containerEnvironment({ name: "m", env }, pod({ name: "a" }), shopStore(), facts)).toThrow(
      "no key k in ConfigMap none",
    );
    const field = [{ name: "X", valueFrom: { fieldRef: { fieldPath: "status.weather" } } }];
    expect(() => containerEnvironment({ name: "m", env: field }, pod({ name: "a" }), shopStore(), facts)).toThrow(
      "status.weather",
    );
  });

  it("expands nothing in text without references", () => {
    expect(expandVariables("a $HOME ${x} $(", {})).toBe("a $HOME ${x} $(");
  });
});

describe("pod files", () => {
  it("search the pod's namespace first and name the pod in /etc/hosts", () => {
    const dns = { nameservers: ["10.96.0.10"], clusterDomain: "cluster.local" };
    expect(resolvConf("shop", dns)).toBe(
      "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
    );
    const aliased = pod({ name: "cart", spec: { hostAliases: [{ ip: "1.2.3.4", hostnames: ["a", "b"] }] } });
    expect(hostsFile(aliased, ["10.0.0.1"])).toContain("10.0.0.1\tcart\n1.2.3.4\ta\tb\n");
    expect(hostnameOf(pod({ name: `${"x".repeat(62)}-yz` }))).toBe("x".repeat(62));
  });
});

describe("pod volumes", () => {
  const context = (owner: ReturnType<typeof pod>, store = shopStore()) => ({
    pod: owner,
    view: store,
    directory: folder,
    owner: undefined,
    issueToken: () => ({ token: "secret", expiresAt: new Date(Date.now() + 3_600_000) }),
  });

  it("write tokens for their owner alone and say when to renew them", () => {
    const sources = [{ serviceAccountToken: { path: "istio-token", audience: "istio-ca" } }];
    const renewInMs = writeVolumes(
      context(pod({ name: "a", spec: { volumes: [{ name: "token", projected: { sources } }] } })),
    );
    const path = join(folder, "token/istio-token");
    expect(readFileSync(path, "utf8")).toBe("secret");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(renewInMs).toBeGreaterThan(2_000_000);
    expect(renewInMs).toBeLessThan(3_000_000);
  });

  it("write chosen keys of a ConfigMap and never leave their folder", () => {
    const store = shopStore();
    store.create(object("v1", "ConfigMap", "files", { data: { a: "1", b: "2" } }));
    const configMap = { name: "files", items: [{ key: "a", path: "../../escaped" }] };
    writeVolumes(context(pod({ name: "a", spec: { volumes: [{ name: "v", configMap }] } }), store));
    expect(readFileSync(join(folder, "v/escaped"), "utf8")).toBe("1");
    const missing = { name: "files", items: [{ key: "z", path: "z" }] };
    expect(() =>
      writeVolumes(context(pod({ name: "a", spec: { volumes: [{ name: "v", configMap: missing }] } }), store)),
    ).toThrow("no key z in ConfigMap files");
  });

  it("mount content read-only, and one file of it where subPath says so", () => {
    const owner = pod({
      name: "a",
      spec: {
        volumes: [
          { name: "v", configMap: { name: "files" } },
          { name: "e", emptyDir: {} },
        ],
      },
    });
    const volumeList = [
      { name: "v", mountPath: "/run/app.conf", subPath: "app.conf" },
      { name: "e", mountPath: "/run/data/" },
      { name: "e", mountPath: "/run/part", subPath: "../a/./b/" },
    ];
    expect(volumeMounts({ name: "m", volumeMounts: volumeList }, owner, "/d")).toEqual([
      { source: "/d/v/app.conf", target: "/run/app.conf", readOnly: true, isFile: true },
      { source: "/d/e", target: "/run/data", readOnly: false },
      { source: "/d/e", subPath: "a/b", target: "/run/part", readOnly: false },
    ]);
  });
});

describe("TokenIssuer", () => {
  const subject = {
    namespace: "shop",
    serviceAccount: { name: "cart", uid: "sa-1" },
    pod: { name: "cart-1", uid: "pod-1" },
    node: { name: "node1", uid: "node-1" },
  };

  it("signs the claims of Kubernetes' bound tokens", () => {
    const issuer = new TokenIssuer(() => new Date(1_700_000_000_000));
    const { token } = issuer.issue(subject, { audience: "istio-ca", lifetimeSeconds: 43_200 });
    const [header = "", payload = "", signature = ""] = token.split(".");
    const key = { key: createPublicKey(issuer.publicKeyPem), dsaEncoding: "ieee-p1363" as const };
    expect(verify("sha256", Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, "base64url"))).toBe(true);
    expect(JSON.parse(Buffer.from(payload, "base64url").toString())).toMatchObject({
      iss: "hairpin-local",
      aud: ["istio-ca"],
      sub: "system:serviceaccount:shop:cart",
      exp: 1_700_003_600,
      "kubernetes.io": {
        namespace: "shop",
        pod: subject.pod,
        node: subject.node,
        serviceaccount: subject.serviceAccount,
      },
    });
  });
});

describe("ProbeCounter", () => {
  it("changes its verdict only after enough answers in a row", () => {
    const counter = new ProbeCounter({ successThreshold: 2, failureThreshold: 2 });
    const verdicts = [true, false, true, true, false, false].map((isGood) => counter.count(isGood));
    expect(verdicts).toEqual([undefined, undefined, undefined, "pass", undefined, "fail"]);
  });
});

describe("planPodStatus", () => {
  const slot = () => new ContainerSlot({ name: "main" }, new LogFile(join(folder, `${Math.random()}.log`)));
  const status = (slots: ContainerSlot[], restartPolicy: string, initialized = true) =>
    planPodStatus({
      pod: pod({ name: "a", spec: { restartPolicy } }),
      podIps: ["10.0.0.1"],
      hostIp: "172.30.0.2",
      startTime: new Date(0),
      initialized,
      stopping: false,
      problem: undefined,
      initSlots: [],
      slots,
    });

  it("is Pending until a container ran, then Running, then Succeeded or Failed as the policy says", () => {
    const one = slot();
    expect(status([one], "Never").phase).toBe("Pending");
    one.ended({ exitCode: 0 });
    expect(status([one], "Never").phase).toBe("Succeeded");
    one.ended({ exitCode: 1 });
    expect(status([one], "Never").phase).toBe("Failed");
    expect(status([one], "Always").phase).toBe("Running");
  });

  it("is Ready when every container is", () => {
    const [one, two] = [slot(), slot()];
    one.ready = true;
    const ready = () => status([one, two], "Always").conditions?.find(({ type }) => type === "Ready")?.status;
    expect(ready()).toBe("False");
    two.ready = true;
    expect(ready()).toBe("True");
  });

  it("tells the signal that ended a container, as a shell counts it", () => {
    const one = slot();
    one.ended({ exitCode: 137, signal: "SIGTERM" });
    expect(one.status().state.terminated).toMatchObject({ exitCode: 143, signal: "SIGTERM", reason: "Error" });
  });
});

describe("LogFile", () => {
  it("keeps a bounded end and gives the last lines", () => {
    const log = new LogFile(join(folder, "a.log"));
    const line = Buffer.from(`${"x".repeat(1023)}\n`);
    for (let count = 0; count < 6000; count++) log.append(line);
    log.append(Buffer.from("one\ntwo\n"));
    expect(log.read().length).toBeLessThanOrEqual(4 * 1024 * 1024 + 1024);
    expect(log.read(2).toString()).toBe("one\ntwo\n");
    expect(log.read(0).toString()).toBe("");
  });

  it("tells followers what comes, until they stop", () => {
    const log = new LogFile(join(folder, "b.log"));
    const heard: string[] = [];
    const stop = log.follow((chunk) => heard.push(chunk.toString()));
    log.append(Buffer.from("a"));
    stop();
    log.append(Buffer.from("b"));
    expect(heard).toEqual(["a"]);
  });
});
