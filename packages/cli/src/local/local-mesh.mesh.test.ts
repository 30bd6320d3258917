import { existsSync, readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LocalMesh, startLocalMesh } from "./local-mesh.ts";
import { processStartTicks } from "./state-directory.ts";

const manifests = [new URL("testdata/two-pods.yaml", import.meta.url).pathname];
const name = `test-${process.pid}`;

describe("a local mesh without the parts of the mesh", () => {
  let mesh: LocalMesh;

  beforeAll(async () => {
    mesh = await startLocalMesh({ name, manifests, meshParts: false, readyTimeoutMs: 60_000 });
  });
  afterAll(async () => {
    await mesh?.stop();
  });

  it("lets pods on two nodes talk through a Service, by name and by address", async () => {
    const nodes = new Set((await mesh.get("pods", "demo")).map((pod) => (pod.spec as { nodeName: string }).nodeName));
    expect([...nodes].sort()).toEqual(["node1", "node2"]);
    const answers = new Set<string>();
    for (let call = 0; call < 20; call++) {
      const { stdout, exitCode } = await mesh.exec("client", ["curl", "-sS", "-m5", "http://echo/"], {
        namespace: "demo",
      });
      expect(exitCode).toBe(0);
      answers.add(stdout.split(" ")[0] ?? "");
    }
    expect(answers.size).toBe(2);
    const [service] = (await mesh.get("services", "demo")) as readonly { spec?: { clusterIP?: string } }[];
    const byAddress = await mesh.exec("client", ["curl", "-sS", "-m5", `http://${service?.spec?.clusterIP}/`], {
      namespace: "demo",
    });
    expect(byAddress.exitCode).toBe(0);
  });

  it("answers NXDOMAIN for names outside the cluster and refuses unknown Service addresses", async () => {
    const unknown = await mesh.exec("client", ["curl", "-sS", "-m5", "http://example.com/"], { namespace: "demo" });
    expect(unknown.exitCode).toBe(6);
    const nobody = await mesh.exec("client", ["curl", "-sS", "-m5", "http://10.96.200.1/"], { namespace: "demo" });
    expect(nobody.exitCode).toBe(7);
  });

  it("runs programs as nobody, without capabilities, on a read-only file system that hides the mesh", async () => {
    const script = `id -u; grep CapBnd /proc/self/status | cut -f2; touch /usr/x 2>&1; ls ${mesh.stateDirectory} 2>&1; hostname`;
    const { stdout } = await mesh.exec("client", ["sh", "-c", script], { namespace: "demo" });
    const [uid, capabilities, touched, listed, hostname] = stdout.trim().split("\n");
    expect({ uid, capabilities, hostname }).toEqual({
      uid: "65534",
      capabilities: "0000000000000000",
      hostname: "client",
    });
    expect(touched).toMatch(/read-only file system/i);
    expect(listed).toMatch(/no such file|permission denied/i);
  });

  it("passes standard input, output and the exit code through", async () => {
    const result = await mesh.exec("deploy/echo", ["sh", "-c", "cat; echo oops >&2; exit 9"], {
      namespace: "demo",
      stdin: "hello",
    });
    expect(result).toEqual({ exitCode: 9, stdout: "hello", stderr: "oops\n" });
  });

  it("takes an endpoint out when its pod is deleted, and the Deployment starts another", async () => {
    const [victim] = (await mesh.get("pods", "demo")).filter((pod) => pod.metadata.name.startsWith("echo"));
    await mesh.client.delete([{ object: victim ?? never(), origin: { file: "test", line: 1 } }]);
    await mesh.whenReady(30_000);
    const pods = (await mesh.get("pods", "demo")).filter((pod) => pod.metadata.name.startsWith("echo"));
    expect(pods.map((pod) => pod.metadata.name)).not.toContain(victim?.metadata.name);
    expect(pods).toHaveLength(2);
  });

  it("refuses a second mesh of the same name and says what to do", async () => {
    await expect(startLocalMesh({ name, meshParts: false })).rejects.toThrow(`hairpin down --name ${name}`);
  });

  it("refuses a pod without a command with file, line, path and reason", async () => {
    const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: nginx}]}\n";
    await expect(mesh.apply(pod)).rejects.toThrow(
      /^text:1: spec\.containers\[0\]\.command: is required: .*pulls no image/,
    );
    expect(await mesh.get("pods", "default")).toEqual([]);
  });

  it("leaves no process, mount or file behind when it is stopped", async () => {
    const { initPid, initStartTicks } = mesh.record;
    expect(processStartTicks(initPid)).toBe(initStartTicks);
    await mesh.stop();
    expect(processStartTicks(initPid)).not.toBe(initStartTicks);
    expect(existsSync(mesh.stateDirectory)).toBe(false);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(mesh.stateDirectory);
    expect(commandLines().filter((line) => line.includes(mesh.stateDirectory))).toEqual([]);
  });
});

function never(): never {
  throw new Error("no pod found");
}

function commandLines(): readonly string[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => {
      try {
        return readFileSync(`/proc/${entry}/cmdline`, "utf8");
      } catch {
        return "";
      }
    });
}
