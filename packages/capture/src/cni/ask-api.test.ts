import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestAuthority } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { askApi } from "./ask-api.ts";
import { formatKubeconfig, parseKubeconfig } from "./plugin-kubeconfig.ts";

const options = { excludedNamespaces: [], meshNamespace: "istio-system", timeoutMs: 10_000 };
const pod = { namespace: "shop", name: "web-0", uid: "u-1" };

describe("askApi", () => {
  const authority = new TestAuthority();
  let folder: string;
  let kubeconfig: string;
  let server: Server;
  let objects: Record<string, object>;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "kubeconfig-"));
    kubeconfig = join(folder, "kubeconfig");
    objects = {
      "/api/v1/namespaces/shop": { metadata: { name: "shop", labels: { "istio.io/dataplane-mode": "ambient" } } },
      "/api/v1/namespaces/shop/pods/web-0": { metadata: { name: "web-0", namespace: "shop", uid: "u-1" } },
    };
    const { certificatePem, privateKeyPem } = authority.issueServer({ dnsNames: [], ips: ["127.0.0.1"] });
    server = createServer({ cert: certificatePem, key: privateKeyPem }, (request, response) => {
      const object = objects[request.url ?? ""];
      const isKnown = request.headers.authorization === "Bearer secret";
      response.statusCode = isKnown ? (object === undefined ? 404 : 200) : 401;
      response.end(JSON.stringify(object ?? {}));
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(0, "127.0.0.1", resolve);
    await promise;
    write({});
  });
  afterEach(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });

  function write(change: { readonly token?: string; readonly caPem?: string }): void {
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const text = formatKubeconfig({ server: url, caPem: authority.rootPem, token: "secret", ...change });
    writeFileSync(kubeconfig, text, { mode: 0o600 });
  }

  it("decides by the labels of the pod and its namespace", async () => {
    expect(await askApi(kubeconfig, pod, options)).toMatchObject({ captured: true });
    objects["/api/v1/namespaces/shop"] = { metadata: { name: "shop" } };
    expect(await askApi(kubeconfig, pod, options)).toMatchObject({ captured: false });
    expect(statSync(kubeconfig).mode & 0o777).toBe(0o600);
  });

  it.each<[string, () => void, RegExp]>([
    ["its token is refused", () => write({ token: "old" }), /answered 401/],
    ["the server is not the cluster's", () => write({ caPem: new TestAuthority().rootPem }), /certificate/],
    ["there is no such pod", () => delete objects["/api/v1/namespaces/shop/pods/web-0"], /web-0 was answered 404/],
    ["there is no kubeconfig", () => rmSync(kubeconfig), /ENOENT/],
    ["the kubeconfig is empty", () => writeFileSync(kubeconfig, "{}"), /no server/],
    [
      "the pod was replaced",
      () => (objects["/api/v1/namespaces/shop/pods/web-0"] = { metadata: { name: "web-0", uid: "u-2" } }),
      /uid u-2, not u-1/,
    ],
  ])("does not guess when %s", async (_name, spoil, said) => {
    spoil();
    await expect(askApi(kubeconfig, pod, options)).rejects.toThrow(said);
  });
});

describe("kubeconfig", () => {
  it("is read as it was written", () => {
    const config = { server: "https://10.96.0.1:443", caPem: "-----BEGIN", token: "t" };
    expect(parseKubeconfig(formatKubeconfig(config))).toEqual(config);
  });
});
