// Manifests with mistakes, given to a running mesh by the command line, as a user does: each is refused with file, line,
// path and reason, nothing of it is taken, and what runs goes on.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeLocally } from "./harness/describe-locally.ts";
import { ScenarioMesh } from "./harness/scenario-mesh.ts";

const name = "e2e-wrong";
const hairpin = new URL("../hairpin", import.meta.url).pathname;
let mesh: ScenarioMesh;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "hairpin-e2e-"));
  mesh = await ScenarioMesh.start(name, "wrong-manifests.yaml");
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface CommandResult {
  readonly exitCode: number;
  readonly output: string;
}

async function run(...words: readonly string[]): Promise<CommandResult> {
  const { promise, resolve } = Promise.withResolvers<CommandResult>();
  execFile(hairpin, words, { timeout: 20_000 }, (error, stdout, stderr) => {
    const exitCode = error === null ? 0 : Number(error.code ?? 1);
    resolve({ exitCode, output: stdout + stderr });
  }).stdin?.end();
  return await promise;
}

async function applyText(text: string): Promise<CommandResult & { readonly file: string }> {
  const file = join(folder, "mistake.yaml");
  writeFileSync(file, text);
  return { ...(await run("apply", "--name", name, "-f", file)), file };
}

const good = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: beside, namespace: shop}\n---\n";

describeLocally("hairpin apply", "it is a command of the local mesh", () => {
  it.each([
    {
      what: "YAML that does not parse",
      text: "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop\nspec: {}\n",
      line: /^[34]$/,
      path: "",
      reason: /./,
    },
    {
      what: "an unknown field",
      text: "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\nspec:\n  selectr: {app: a}\n  ports: [{port: 80}]\n",
      line: /^5$/,
      path: "spec.selectr",
      reason: /unknown|not allowed|no field/i,
    },
    {
      what: "a port out of range",
      text: "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\nspec:\n  selector: {app: a}\n  ports:\n    - port: 99999\n",
      line: /^7$/,
      path: "spec.ports[0].port",
      reason: /65535/,
    },
    {
      what: "a port that is no number",
      text: "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: w, namespace: shop}\nspec:\n  gatewayClassName: istio-waypoint\n  listeners:\n    - {name: mesh, protocol: HBONE, port: http}\n",
      line: /^7$/,
      path: "spec.listeners[0].port",
      reason: /number|integer/,
    },
    {
      what: "an unknown kind",
      text: "apiVersion: example.org/v1\nkind: Teapot\nmetadata: {name: a, namespace: shop}\n",
      line: /^[12]$/,
      path: "kind",
      reason: /Teapot/,
    },
    {
      what: "a policy with an action that does not exist",
      text: "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: shop}\nspec:\n  action: FORBID\n",
      line: /^5$/,
      path: "spec.action",
      reason: /ALLOW|FORBID/,
    },
  ])("refuses $what with file, line, path and reason, and takes nothing", async ({ text, line, path, reason }) => {
    const result = await applyText(good + text);
    expect(result.exitCode).not.toBe(0);
    const places = [...result.output.matchAll(/^(?:error: )?(\S+?):(\d+):? (.*)$/gm)];
    const place = places.find(([, file]) => file === result.file);
    expect(place, result.output).toBeDefined();
    // Three lines and a separator stand before the mistake.
    expect(String(Number(place?.[2]) - 4), result.output).toMatch(line);
    expect(place?.[3]).toContain(path);
    expect(place?.[3]).toMatch(reason);
    expect((await mesh.mesh.get("ServiceAccount", "shop")).map(({ metadata }) => metadata.name)).not.toContain(
      "beside",
    );
  });

  it("takes a route whose parent does not exist, but tells the place at once and later in its status", async () => {
    const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: lost, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: nowhere, port: 80}]
  rules: [{backendRefs: [{name: server, port: 80}]}]
`;
    const result = await applyText(route);
    expect(result.exitCode, result.output).toBe(0);
    expect(result.output).toContain(`${result.file}:5`);
    expect(result.output).toMatch(/spec\.parentRefs\[0\]\.name: there is no Service shop\/nowhere/);
    await eventually(async () => {
      const { status } = await mesh.object("HTTPRoute", "shop/lost");
      const { parents = [] } = (status ?? {}) as {
        parents?: { conditions: { type: string; status: string; message: string }[] }[];
      };
      const accepted = parents[0]?.conditions.find(({ type }) => type === "Accepted");
      expect(accepted).toMatchObject({ status: "False" });
      expect(accepted?.message).toContain("nowhere");
    });
  });

  it("tells several mistakes at once", async () => {
    const result = await applyText(
      "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\nspec: {selectr: {}, ports: [{port: 0}]}\n",
    );
    expect(result.exitCode).not.toBe(0);
    expect(result.output).toContain("spec.selectr");
    expect(result.output).toContain("spec.ports[0].port");
  });

  it("leaves the mesh as it was: calls are served, and good manifests are taken", async () => {
    expect((await mesh.curl("shop/client", "http://server/")).status).toBe(200);
    expect((await applyText(good)).exitCode).toBe(0);
    expect((await mesh.mesh.get("ServiceAccount", "shop")).map(({ metadata }) => metadata.name)).toContain("beside");
  });
});

describeLocally("hairpin exec", "it is a command of the local mesh", () => {
  it("passes a program's output and exit code through", async () => {
    const command = ["sh", "-c", "cat; echo out; exit 9"];
    const words = ["exec", "--name", name, "-n", "shop", "client", "--", ...command];
    expect(await run(...words)).toEqual({ exitCode: 9, output: "out\n" });
  });
});
