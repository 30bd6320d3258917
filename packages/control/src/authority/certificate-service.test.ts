import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Client, Metadata, credentials, status, type ServiceError } from "@grpc/grpc-js";
import { istioCa } from "@hairpin/shared/api";
import {
  createCertificateMethod,
  createCsr,
  createKeyPair,
  formatPrivateKey,
  readX509,
} from "@hairpin/shared/identity";
import { parseSpiffeId } from "@hairpin/shared/model";
import { TestAuthority } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { aPod } from "../testing/objects.ts";
import { TestControl } from "../testing/test-control.ts";

const ztunnel = aPod("ztunnel-a", { namespace: "istio-system", serviceAccount: "ztunnel" });
const web = aPod("web", { serviceAccount: "web" });
const admin = parseSpiffeId("spiffe://cluster.local/ns/istio-system/sa/admin");

type Answer = { readonly chain: readonly string[] } | { readonly code: status; readonly details: string };

describe("certificate service", () => {
  let control: TestControl;
  let client: Client;
  beforeAll(async () => {
    control = await TestControl.start([ztunnel, web]);
    client = new Client(
      `127.0.0.1:${control.running.ports.secureXds}`,
      credentials.createSsl(Buffer.from(control.running.rootBundlePem)),
      { "grpc.ssl_target_name_override": "istiod.istio-system.svc" },
    );
  });
  afterAll(async () => {
    client.close();
    await control[Symbol.asyncDispose]();
  });

  async function ask(fields: {
    /** Default: one without a certificate. */
    readonly by?: Client;
    readonly authorization?: readonly string[];
    readonly csr?: string;
    readonly impersonated?: unknown;
    readonly seconds?: bigint;
  }): Promise<Answer> {
    const metadata = new Metadata();
    for (const value of fields.authorization ?? []) metadata.add("authorization", value);
    const request = create(istioCa.IstioCertificateRequestSchema, {
      csr: fields.csr ?? createCsr(admin, createKeyPair()),
      validityDuration: fields.seconds ?? 3600n,
      ...(fields.impersonated === undefined
        ? {}
        : { metadata: { ImpersonatedIdentity: fields.impersonated as string } }),
    });
    const { path, requestSerialize, responseDeserialize } = createCertificateMethod;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    (fields.by ?? client).makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      (error: ServiceError | null, response) =>
        resolve(error === null ? { chain: response?.certChain ?? [] } : { code: error.code, details: error.details }),
    );
    return await promise;
  }
  const bearer = async (pod: typeof web): Promise<string[]> => [`Bearer ${await control.tokenOf(pod)}`];

  test("takes nothing but the key from the CSR: the identity is the caller's, whatever the CSR names", async () => {
    const answer = await ask({ authorization: await bearer(web) });
    const [leafPem = "", root = ""] = "chain" in answer ? answer.chain : [];
    const leaf = readX509(leafPem);
    expect(leaf.subjectAltName).toBe("URI:spiffe://cluster.local/ns/shop/sa/web");
    expect(leaf.ca).toBe(false);
    expect(root).toBe(control.running.rootBundlePem);
  });

  test.each([
    [60n, 60],
    [0n, 24 * 3600],
    [-5n, 24 * 3600],
    [365n * 24n * 3600n, 24 * 3600],
  ])("asked for %d s it gives %d s", async (seconds, expected) => {
    const answer = await ask({ authorization: await bearer(web), seconds });
    const leaf = readX509("chain" in answer ? (answer.chain[0] ?? "") : "");
    const life = (leaf.validToDate.getTime() - leaf.validFromDate.getTime()) / 1000;
    // Backdated by two minutes.
    expect(Math.abs(life - 120 - expected)).toBeLessThanOrEqual(1);
  });

  /** A client that proves itself by a certificate of this authority. */
  function clientWith(chainPem: string, privateKeyPem: string): Client {
    return new Client(
      `127.0.0.1:${control.running.ports.secureXds}`,
      credentials.createSsl(
        Buffer.from(control.running.rootBundlePem),
        Buffer.from(privateKeyPem),
        Buffer.from(chainPem),
      ),
      { "grpc.ssl_target_name_override": "istiod.istio-system.svc", "grpc.use_local_subchannel_pool": 1 },
    );
  }
  const refusal = { code: status.UNAUTHENTICATED, details: "request authenticate failure" };

  test("gives who comes with its certificate the next one, for itself alone", async () => {
    const keyPair = createKeyPair();
    const first = await ask({ authorization: await bearer(web), csr: createCsr(admin, keyPair) });
    const chainPem = "chain" in first ? (first.chain[0] ?? "") : "";
    const by = clientWith(chainPem, formatPrivateKey(keyPair));
    const next = await ask({ by });
    const leaf = readX509("chain" in next ? (next.chain[0] ?? "") : "");
    expect(leaf.subjectAltName).toBe("URI:spiffe://cluster.local/ns/shop/sa/web");
    expect(await ask({ by, impersonated: "spiffe://cluster.local/ns/istio-system/sa/ztunnel" })).toEqual(refusal);
    // A token that is no good is not overlooked for the certificate's sake.
    expect(await ask({ by, authorization: ["Bearer abc.def.ghi"] })).toEqual(refusal);
    by.close();
  });

  test("takes a certificate of another authority for none", async () => {
    const strange = new TestAuthority();
    const { chainPem, privateKeyPem } = strange.issue(strange.identity("shop/web"));
    const by = clientWith(chainPem, privateKeyPem);
    expect(await ask({ by })).toEqual(refusal);
    expect(await ask({ by, authorization: await bearer(web) })).toHaveProperty("chain");
    by.close();
  });

  test.each<[string, () => Promise<Parameters<typeof ask>[0]>]>([
    ["without a token", async () => ({})],
    ["with a token of another scheme", async () => ({ authorization: ["Basic d2ViOng="] })],
    ["with a garbled token", async () => ({ authorization: ["Bearer abc.def.ghi"] })],
    [
      "with a token for another audience",
      async () => ({ authorization: [`Bearer ${await control.tokenOf(web, { audience: "api" })}`] }),
    ],
    [
      "of a workload that impersonates another",
      async () => ({
        authorization: await bearer(web),
        impersonated: "spiffe://cluster.local/ns/istio-system/sa/ztunnel",
      }),
    ],
    [
      "of a node agent for an account that is not on its node",
      async () => ({ authorization: await bearer(ztunnel), impersonated: "spiffe://cluster.local/ns/shop/sa/nobody" }),
    ],
    [
      "with an impersonated identity that is no text",
      async () => ({ authorization: await bearer(ztunnel), impersonated: 7 }),
    ],
    ["with an empty impersonated identity", async () => ({ authorization: await bearer(ztunnel), impersonated: "" })],
  ])("answers a request %s with an opaque refusal", async (_, fields) => {
    expect(await ask(await fields())).toEqual({
      code: status.UNAUTHENTICATED,
      details: "request authenticate failure",
    });
  });

  test.each([
    ["empty", ""],
    ["not PEM", "hello"],
    [
      "a PEM of noise",
      `-----BEGIN CERTIFICATE REQUEST-----\n${randomBytes(96).toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`,
    ],
  ])("says what is wrong with a CSR that is %s", async (_, csr) => {
    const answer = await ask({ authorization: await bearer(web), csr });
    expect(answer).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining("request refused"),
    });
  });
});
