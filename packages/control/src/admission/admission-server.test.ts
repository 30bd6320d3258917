import { request } from "node:https";
import { connect } from "node:tls";
import { systemClock } from "@hairpin/shared/process";
import { MetricRegistry, noLogger } from "@hairpin/shared/telemetry";
import { TestAuthority } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServingCertificate } from "../authority/serving-certificate.ts";
import { createSigningAuthority, type SigningAuthority } from "../authority/signing-authority.ts";
import { ObjectCollection } from "../collection/object-collection.ts";
import { AdmissionServer } from "./admission-server.ts";

interface Answer {
  readonly status: number;
  readonly body: string;
}

const review = (object: unknown): string =>
  JSON.stringify({
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: { uid: "u-1", operation: "CREATE", object },
  });
const policy = (action: string): unknown => ({
  apiVersion: "security.istio.io/v1",
  kind: "AuthorizationPolicy",
  metadata: { name: "p", namespace: "shop" },
  spec: { action },
});

function signingOf({ signing, rootPem }: TestAuthority): SigningAuthority {
  return createSigningAuthority({ signing, intermediatesPem: "", rootsPem: rootPem }, rootPem, systemClock);
}

describe("AdmissionServer", { timeout: 30_000 }, () => {
  const first = new TestAuthority();
  let change = (): void => {};
  const authorities = {
    current: signingOf(first),
    onChange: (listener: () => void) => ((change = listener), () => {}),
  };
  let rootPem = first.rootPem;
  const certificate = new ServingCertificate(
    { authorities, clock: systemClock, logger: noLogger },
    { rootNamespace: "istio-system", clusterDomain: "cluster.local", ips: [] },
  );
  const metrics = new MetricRegistry();
  const server = new AdmissionServer(
    { certificate, objects: new ObjectCollection(), metrics, logger: noLogger },
    { host: "127.0.0.1", port: 0 },
  );
  beforeAll(async () => {
    await certificate.start();
    await server.start();
  });
  afterAll(async () => {
    await server.stop();
    await certificate.stop();
  });

  const ask = async (
    body: string | Buffer,
    options: { readonly path?: string; readonly method?: string } = {},
  ): Promise<Answer> => {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const { path = "/validate?timeout=10s", method = "POST" } = options;
    const call = request(
      {
        host: "127.0.0.1",
        port: server.port,
        path,
        method,
        ca: rootPem,
        servername: "istiod.istio-system.svc",
        agent: false,
        headers: { "content-length": Buffer.byteLength(body) },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") }),
        );
      },
    );
    call.on("error", reject);
    call.end(body);
    return await promise;
  };
  const allowed = ({ body }: Answer): unknown =>
    (JSON.parse(body) as { response: { allowed: boolean } }).response.allowed;

  test("answers reviews over TLS with istiod's name", async () => {
    expect(allowed(await ask(review(policy("ALLOW"))))).toBe(true);
    const denied = await ask(review(policy("PERMIT")));
    expect(allowed(denied)).toBe(false);
    expect(denied.body).toContain('\\"PERMIT\\" is none of ALLOW, DENY');
    const { body } = await metrics.expose();
    expect(body).toContain('hairpin_admission_reviews_total{result="denied"} 1');
  });

  test.each<[string, string | Buffer, { path?: string; method?: string }, number]>([
    ["no JSON", "{", {}, 400],
    ["bytes that are no text", Buffer.from([0xff, 0xfe, 0x00]), {}, 400],
    ["nothing", "", {}, 400],
    ["another kind", "{}", {}, 400],
    ["another path", review(policy("ALLOW")), { path: "/inject" }, 404],
    ["another method", "", { method: "GET" }, 405],
    ["an object that nests deeply", review(JSON.parse("[".repeat(5000) + "]".repeat(5000))), {}, 200],
  ])("answers %s", async (_, body, options, status) => {
    expect((await ask(body, options)).status).toBe(status);
  });

  test("refuses a body that is too long by its announced length, and goes on", async () => {
    const socket = connect({
      host: "127.0.0.1",
      port: server.port,
      ca: rootPem,
      servername: "istiod.istio-system.svc",
    });
    const head = `POST /validate HTTP/1.1\r\nhost: x\r\ncontent-length: ${9 * 1024 * 1024}\r\n\r\n`;
    const { promise, resolve } = Promise.withResolvers<string>();
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("close", () => resolve(text));
    socket.on("error", () => {});
    socket.write(head);
    expect(await promise).toMatch(/^HTTP\/1.1 413 /);
    expect(allowed(await ask(review(policy("DENY"))))).toBe(true);
  });

  test("takes the new certificate when the CA changes", async () => {
    const next = new TestAuthority();
    authorities.current = signingOf(next);
    change();
    await expect(ask(review(policy("DENY")))).rejects.toThrow();
    rootPem = next.rootPem;
    expect(allowed(await ask(review(policy("DENY"))))).toBe(true);
  });
});
