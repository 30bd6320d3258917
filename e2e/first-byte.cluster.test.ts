// Pods that come: what their first program sends is captured already, and how long that makes them wait.

import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Installation } from "./harness/installation.ts";
import { cluster, report, ScenarioMesh } from "./harness/scenario-mesh.ts";

const namespace = "first-byte";
const dialers = 50;
const atOnce = 10;
const rounds = 3;
/** The bar is 100 ms on an idle machine; one with other things to do differs by more from one round to the next. */
const busyMachineMs = 2_000;

let mesh: ScenarioMesh;
const installation = new Installation(cluster);

beforeAll(async () => {
  mesh = await ScenarioMesh.start("first-byte", "first-byte.yaml");
});
afterAll(async () => await mesh[Symbol.asyncDispose]());

interface PodOrder {
  readonly name: string;
  readonly command: readonly string[];
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly nodeName?: string;
}

function pod({ name, command, labels = {}, nodeName, ...order }: PodOrder): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: order.namespace ?? namespace, labels: { app: "dialer", ...labels } },
    spec: {
      ...(nodeName === undefined ? {} : { nodeName }),
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 1,
      containers: [{ name: "main", command }],
    },
  });
}

/** Exit codes of the pods that ended, by name; waits until all have. */
async function exitCodes(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
  return await eventually(
    async () => {
      const codes = new Map<string, number>();
      for (const { metadata, status } of await mesh.mesh.get("Pod", namespace)) {
        const { containerStatuses = [] } = status as {
          readonly containerStatuses?: readonly {
            readonly state: { readonly terminated?: { readonly exitCode: number } };
          }[];
        };
        const exitCode = containerStatuses[0]?.state.terminated?.exitCode;
        if (names.includes(metadata.name) && exitCode !== undefined) codes.set(metadata.name, exitCode);
      }
      const waiting = names.filter((name) => !codes.has(name));
      if (waiting.length > 0) throw new Error(`${waiting.length} pods have not ended, among them ${waiting[0]}`);
      return codes;
    },
    { timeoutMs: 180_000, intervalMs: 500 },
  );
}

describe("the first byte of a pod", () => {
  it("is captured: 50 pods that dial at their first instruction all arrive with their identity", async () => {
    const ip = await mesh.podIp("first-byte/server");
    const url = `http://${ip}:8080/`;
    // curl is the pod's only process: no name to be resolved, nothing before the connection.
    const command = ["curl", "-sS", "-m", "20", "-o", "/dev/null", url];
    const names = Array.from({ length: dialers }, (_, index) => `dialer-${index}`);
    const startedAt = Date.now();
    await mesh.apply(
      names.map((name, index) => pod({ name, command, nodeName: `node${1 + (index % 2)}` })).join("\n---\n"),
    );
    const codes = await exitCodes(names);
    report(`first byte: ${dialers} pods started, dialled and ended after ${Date.now() - startedAt} ms`);
    expect([...codes].filter(([, code]) => code !== 0)).toEqual([]);
    // Not by name: a destination may hear of a pod later than from it.
    const arrived = await eventually(async () => {
      const lines = (await mesh.accessLog("node2")).filter(
        ({ fields }) =>
          fields["direction"] === "inbound" && [fields["dst.addr"], fields["dst.hbone_addr"]].includes(`${ip}:8080`),
      );
      expect(lines.length).toBeGreaterThanOrEqual(dialers);
      return lines.map(({ fields }) => fields["src.identity"]);
    });
    const anonymous = arrived.filter((identity) => identity !== `spiffe://cluster.local/ns/${namespace}/sa/default`);
    report(`first byte: ${anonymous.length} of ${arrived.length} first connections arrived without identity`);
    expect(anonymous).toEqual([]);
  }, 240_000);

  it("would be refused in plaintext: a pod that is left out does not reach the server", async () => {
    const url = `http://${await mesh.podIp("first-byte/server")}:8080/`;
    const labels = { "istio.io/dataplane-mode": "none" };
    await mesh.apply(pod({ name: "left-out", command: ["curl", "-sS", "-m", "20", url], labels }));
    expect((await exitCodes(["left-out"])).get("left-out")).not.toBe(0);
  });
});

describe("a pod that is created", () => {
  it("is Ready as soon with the mesh as without it, nearly", async () => {
    const start = async (where: string, round: number): Promise<number> => {
      const names = Array.from({ length: atOnce }, (_, index) => `start-${round}-${index}`);
      const pods = names.map((name) => pod({ name, namespace: where, command: ["sleep", "infinity"] })).join("\n---\n");
      const startedAt = Date.now();
      await mesh.apply(pods);
      const wait = ["wait", "-n", where, "--for=condition=Ready", "--timeout=60s"];
      await installation.kubectl.text([...wait, ...names.map((name) => `pod/${name}`)]);
      const tookMs = Date.now() - startedAt;
      await mesh.delete(pods);
      return tookMs;
    };
    const captured: number[] = [];
    const plain: number[] = [];
    for (let round = 0; round < rounds; round++) {
      plain.push(await start("first-byte-outside", round));
      captured.push(await start(namespace, round));
    }
    const [plainMs, capturedMs] = [median(plain), median(captured)];
    report(
      `${atOnce} pods at once are Ready after: captured median ${capturedMs} ms (${captured.join(", ")}), ` +
        `not captured ${plainMs} ms (${plain.join(", ")}), difference ${capturedMs - plainMs} ms`,
    );
    expect(capturedMs).toBeLessThan(plainMs * 3 + busyMachineMs);
  }, 240_000);
});

function median(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)] ?? 0;
}
