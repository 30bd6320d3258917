import { createCsr, createKeyPair } from "@hairpin/shared/identity";
import { parseSpiffeId } from "@hairpin/shared/model";
import { noLogger } from "@hairpin/shared/telemetry";
import { FakeApiServer, ManualClock, TestAuthority, eventually } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fakeApiOf } from "../testing/fake-api.ts";
import { SecretAuthority } from "./secret-authority.ts";

const hour = 3_600_000;
/** Short, so that watches do not time out meanwhile. */
const introductionMs = 10_000;
const retirementMs = 20_000;
const web = parseSpiffeId("spiffe://cluster.local/ns/shop/sa/web");

function cacerts(authority: TestAuthority): object {
  const files = {
    "ca-cert.pem": authority.signing.certificatePem,
    "ca-key.pem": authority.signing.privateKeyPem,
    "root-cert.pem": authority.rootPem,
    "cert-chain.pem": authority.signing.certificatePem,
  };
  const data = Object.fromEntries(Object.entries(files).map(([key, text]) => [key, btoa(text)]));
  return { apiVersion: "v1", kind: "Secret", metadata: { name: "cacerts", namespace: "istio-system" }, data };
}

describe("SecretAuthority", { timeout: 30_000 }, () => {
  let fake: FakeApiServer;
  let clock: ManualClock;
  const opened: SecretAuthority[] = [];
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    clock = new ManualClock(new Date());
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((one) => one.stop()));
    await fake[Symbol.asyncDispose]();
  });

  const create = (): SecretAuthority => {
    const one = new SecretAuthority(
      { api: fakeApiOf(fake, clock), clock, logger: noLogger },
      { namespace: "istio-system", introductionMs, retirementMs },
    );
    opened.push(one);
    return one;
  };
  const open = async (): Promise<SecretAuthority> => {
    const one = create();
    await one.open();
    await one.start();
    return one;
  };
  const issuerOf = ({ current }: SecretAuthority): string => current.issuer.certificatePem;
  const bundleOf = ({ current }: SecretAuthority): string => current.authority.rootBundlePem;

  test("makes a root once: of replicas that start together all use the first one's", async () => {
    const replicas = await Promise.all([open(), open(), open()]);
    expect(new Set(replicas.map(bundleOf)).size).toBe(1);
    expect(new Set(replicas.map(issuerOf)).size).toBe(1);
    const again = await open();
    expect(bundleOf(again)).toBe(bundleOf(replicas[0]));
  });

  test("prefers a CA that was plugged in, and sends its intermediate", async () => {
    const plugged = new TestAuthority({ intermediate: true, now: clock.wallTime() });
    fake.put(cacerts(plugged));
    const { current } = await open();
    expect(current.authority.rootBundlePem).toBe(plugged.rootPem);
    const chain = current.authority.sign(createCsr(web, createKeyPair()), { identity: web, ttlMs: hour });
    expect(chain.slice(1)).toEqual([plugged.signing.certificatePem, plugged.rootPem]);
    expect(fake.find("Secret", "istio-system", "istio-ca-secret")).toBeUndefined();
  });

  test("changes from one root to another by steps that all replicas take, and that survive a restart", async () => {
    const [first, second] = await Promise.all([open(), open()]);
    const oldRoot = bundleOf(first);
    let changes = 0;
    first.onChange(() => changes++);
    const plugged = new TestAuthority({ intermediate: true, now: clock.wallTime() });
    fake.put(cacerts(plugged));

    // Introduced: both trusted, the old one signs.
    await eventually(() => {
      for (const one of [first, second]) expect(bundleOf(one)).toBe(oldRoot + plugged.rootPem);
    });
    expect(issuerOf(first)).toBe(oldRoot);
    const restarted = await open();
    expect([issuerOf(restarted), bundleOf(restarted)]).toEqual([oldRoot, oldRoot + plugged.rootPem]);

    // Switched: the new one signs, the old one is still trusted.
    await clock.advance(introductionMs);
    await eventually(() => {
      for (const one of [first, second, restarted]) expect(issuerOf(one)).toBe(plugged.signing.certificatePem);
    });
    expect(bundleOf(first)).toBe(oldRoot + plugged.rootPem);

    // Retired.
    await clock.advance(retirementMs);
    await eventually(() => {
      for (const one of [first, second, restarted]) expect(bundleOf(one)).toBe(plugged.rootPem);
    });
    expect(changes).toBe(3);
  });

  test("goes on with the last CA when a Secret is spoilt, and takes it again when it is mended", async () => {
    const plugged = new TestAuthority({ intermediate: true, now: clock.wallTime() });
    fake.put(cacerts(plugged));
    const authority = await open();
    const spoilt = cacerts(plugged) as { data: Record<string, string> };
    fake.put({ ...spoilt, data: { ...spoilt.data, "ca-key.pem": btoa("hello") } });
    // A further change is seen only after the spoilt one was.
    const next = new TestAuthority({ intermediate: true, now: clock.wallTime() });
    const reads = fake.requests.length;
    await eventually(() => expect(fake.requests.length).toBeGreaterThan(reads + 1));
    expect(issuerOf(authority)).toBe(plugged.signing.certificatePem);
    fake.put(cacerts(next));
    await eventually(() => expect(bundleOf(authority)).toBe(plugged.rootPem + next.rootPem));
  });

  test("does not start with a Secret that cannot be used: our own CA would be another trust", async () => {
    const plugged = cacerts(new TestAuthority({ intermediate: true })) as { data: Record<string, string> };
    fake.put({ ...plugged, data: { ...plugged.data, "ca-key.pem": btoa("hello") } });
    await expect(create().open()).rejects.toMatchObject({ code: "CA_SECRET_INVALID" });
    expect(fake.find("Secret", "istio-system", "istio-ca-secret")).toBeUndefined();
  });

  test("waits for an API server that does not answer", async () => {
    fake.fail({ kind: "Secret" }, { status: 500 }, 6);
    const authority = create();
    const opening = authority.open();
    let isOpen = false;
    void opening.then(() => (isOpen = true));
    await eventually(async () => {
      await clock.advance(30_000);
      expect(isOpen).toBe(true);
    });
    expect(bundleOf(authority)).toContain("BEGIN CERTIFICATE");
  });

  test("a CA Secret that is deleted is followed by a new root, by the same steps", async () => {
    const authority = await open();
    const oldRoot = bundleOf(authority);
    fake.remove("Secret", "istio-system", "istio-ca-secret");
    await eventually(() => expect(bundleOf(authority)).not.toBe(oldRoot));
    expect(issuerOf(authority)).toBe(oldRoot);
    expect(bundleOf(authority).startsWith(oldRoot)).toBe(true);
  });
});
