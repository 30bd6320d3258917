import { createRootCertificate, createKeyPair } from "@hairpin/shared/identity";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { FakeApiServer, eventually } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createSigningAuthority, type SigningAuthority } from "../authority/signing-authority.ts";
import { ObjectCollection } from "../collection/object-collection.ts";
import { KubernetesSource } from "../kubernetes/kubernetes-source.ts";
import { fakeApiOf } from "../testing/fake-api.ts";
import { RootConfigMaps } from "./root-config-maps.ts";

const namespace = (name: string, metadata: object = {}): object => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, ...metadata },
});

function anAuthority(): SigningAuthority {
  const signing = createRootCertificate("test", new Date(), createKeyPair());
  const material = { signing, intermediatesPem: "", rootsPem: signing.certificatePem };
  return createSigningAuthority(material, signing.certificatePem, systemClock);
}

describe("RootConfigMaps", { timeout: 30_000 }, () => {
  let fake: FakeApiServer;
  let authorities: { current: SigningAuthority; onChange: (listener: () => void) => () => void };
  let changeRoot: () => void;
  let leadership: { leading: boolean; onChange: (listener: () => void) => () => void };
  let changeLeader: () => void;
  let objects: ObjectCollection;
  let parts: readonly { stop(): Promise<void> }[];
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    fake.put(
      namespace("shop"),
      namespace("kube-public"),
      namespace("going", { deletionTimestamp: "2026-01-01T00:00:00Z" }),
    );
    changeRoot = changeLeader = () => {};
    authorities = { current: anAuthority(), onChange: (listener) => ((changeRoot = listener), () => {}) };
    leadership = { leading: true, onChange: (listener) => ((changeLeader = listener), () => {}) };
    const components = { api: fakeApiOf(fake), clock: systemClock, logger: noLogger };
    objects = new ObjectCollection();
    const source = new KubernetesSource({ ...components, objects }, { name: "test" });
    const maps = new RootConfigMaps({ ...components, objects, authorities, leadership });
    parts = [maps, source];
    await source.start();
    await maps.start();
  });
  afterEach(async () => {
    for (const part of parts) await part.stop();
    await fake[Symbol.asyncDispose]();
  });

  const rootIn = (name: string): unknown => {
    const found = fake.find("ConfigMap", name, "istio-ca-root-cert") as { data?: Record<string, string> } | undefined;
    return found?.data?.["root-cert.pem"];
  };
  const bundle = (): string => authorities.current.authority.rootBundlePem;
  const writes = (): number => fake.requests.filter(({ verb }) => verb === "apply").length;

  test("are in every namespace that stays, and in a new one at once", async () => {
    await eventually(() => expect(rootIn("shop")).toBe(bundle()));
    fake.put(namespace("later"));
    await eventually(() => expect(rootIn("later")).toBe(bundle()));
    expect(rootIn("kube-public")).toBeUndefined();
    expect(rootIn("going")).toBeUndefined();
    expect(writes()).toBe(2);
  });

  test("come back when they are edited or deleted, and are changed with the roots", async () => {
    await eventually(() => expect(rootIn("shop")).toBe(bundle()));
    const held = fake.find("ConfigMap", "shop", "istio-ca-root-cert") as object;
    fake.put({ ...held, data: { "root-cert.pem": "mine" } });
    await eventually(() => expect(rootIn("shop")).toBe(bundle()));
    fake.remove("ConfigMap", "shop", "istio-ca-root-cert");
    await eventually(() => expect(rootIn("shop")).toBe(bundle()));
    authorities.current = anAuthority();
    changeRoot();
    await eventually(() => expect(rootIn("shop")).toBe(bundle()));
  });

  test("keep what else somebody put there, and are replaced when nobody can change them", async () => {
    await eventually(() => expect(rootIn("shop")).toBe(bundle()));
    fake.put({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "istio-ca-root-cert", namespace: "shop" },
      data: { "root-cert.pem": "mine", other: "kept" },
    });
    await eventually(() => expect(rootIn("shop")).toBe(bundle()));
    expect((fake.find("ConfigMap", "shop", "istio-ca-root-cert") as { data?: object }).data).toHaveProperty("other");
    fake.put({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "istio-ca-root-cert", namespace: "shop" },
      data: { "root-cert.pem": "mine" },
      immutable: true,
    });
    await eventually(() => expect(rootIn("shop")).toBe(bundle()));
    expect(fake.requests.some(({ verb, kind }) => verb === "delete" && kind === "ConfigMap")).toBe(true);
  });

  test("are written by the leader alone, and by the next one when it leads", async () => {
    await eventually(() => expect(rootIn("shop")).toBe(bundle()));
    leadership.leading = false;
    changeLeader();
    const before = writes();
    fake.put(namespace("quiet"));
    fake.remove("ConfigMap", "shop", "istio-ca-root-cert");
    // Some changes later the first has been looked at.
    for (const name of ["a", "b", "c", "d", "e"]) {
      fake.put(namespace(name));
      await eventually(() => expect(objects.snapshot().find("Namespace", "", name)).toBeDefined());
    }
    expect(writes()).toBe(before);
    leadership.leading = true;
    changeLeader();
    await eventually(() => {
      expect(rootIn("quiet")).toBe(bundle());
      expect(rootIn("shop")).toBe(bundle());
    });
  });

  test("are tried again when the API server refuses", async () => {
    await eventually(() => expect(rootIn("shop")).toBe(bundle()));
    fake.fail({ verb: "apply", kind: "ConfigMap" }, { status: 500 }, 2);
    fake.put(namespace("later"));
    await eventually(() => expect(rootIn("later")).toBe(bundle()));
  });
});
