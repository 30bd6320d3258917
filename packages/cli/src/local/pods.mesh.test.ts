import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type LocalMesh, startLocalMesh } from "./local-mesh.ts";
import type { Pod } from "./object/kubernetes-object.ts";

const name = `pods-${process.pid}`;
const launcher = new URL("../../../../hairpin", import.meta.url).pathname;

const yaml = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue, app.conf: "size = 7\\n"}
---
apiVersion: v1
kind: Pod
metadata: {name: full, labels: {app: full}}
spec:
  nodeName: node2
  hostname: custom
  securityContext: {runAsUser: 1234, runAsGroup: 1234}
  initContainers:
    - {name: first, command: [sh, -c, "echo made by init > /run/shared/file"], volumeMounts: [{name: shared, mountPath: /run/shared}]}
  containers:
    - name: web
      command: [node, -e]
      args: ['require("http").createServer((q,s)=>s.end("$(COLOUR)")).listen(8080)']
      env: [{name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}]
      ports: [{name: http, containerPort: 8080}]
      startupProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
      readinessProbe: {tcpSocket: {port: http}}
      livenessProbe: {exec: {command: [test, -e, /run/shared/file]}, periodSeconds: 1, failureThreshold: 1}
      volumeMounts: [{name: shared, mountPath: /run/shared}, {name: conf, mountPath: /run/conf}]
    - name: side
      command: [sleep, infinity]
      volumeMounts:
        - {name: shared, mountPath: /run/shared}
        - {name: token, mountPath: /var/run/secrets/tokens}
  volumes:
    - {name: shared, emptyDir: {}}
    - {name: conf, configMap: {name: settings}}
    - {name: token, projected: {sources: [{serviceAccountToken: {path: istio-token, audience: istio-ca}}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  containers: [{name: job, command: [sh, -c, "echo done; exit 0"]}]
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, ipFamilyPolicy: PreferDualStack, selector: {app: full}, ports: [{port: 80, targetPort: http}]}
`;

describe("pods of a local mesh", () => {
  let mesh: LocalMesh;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "pods-"));
    mesh = await startLocalMesh({ name, yaml, ipv6: true, meshParts: false, readyTimeoutMs: 60_000 });
  });
  afterAll(async () => {
    await mesh?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = async (script: string, container = "web") =>
    (await mesh.exec("full", ["sh", "-c", script], { container })).stdout.trim();
  const findPod = async (podName: string): Promise<Pod | undefined> =>
    ((await mesh.get("pods", "default")) as readonly Pod[]).find((pod) => pod.metadata.name === podName);

  it("share volumes between init containers and containers, and read ConfigMaps", async () => {
    expect(await run("cat /run/shared/file /run/conf/app.conf; id -u; hostname")).toBe(
      "made by init\nsize = 7\n1234\ncustom",
    );
    expect(await run("echo side > /run/shared/other; cat /run/shared/file", "side")).toBe("made by init");
    expect(await run("cat /run/shared/other")).toBe("side");
    expect(await run("touch /run/conf/x 2>&1 || true")).toMatch(/read-only/i);
  });

  it("run on the node they ask for", async () => {
    expect((await findPod("full"))?.spec?.nodeName).toBe("node2");
  });

  it("get a token of their own that only their user can read", async () => {
    const [mode, token = ""] = (
      await run("stat -c '%a %u' /run/secrets/tokens/istio-token; cat /run/secrets/tokens/istio-token", "side")
    ).split("\n");
    expect(mode).toBe("600 1234");
    const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { sub: string };
    expect(claims.sub).toBe("system:serviceaccount:default:default");
  });

  it("reach each other by headless names over IPv4 and IPv6", async () => {
    expect(await run("curl -sS -m5 -4 http://headless:8080/; curl -sS -m5 -6 http://headless:8080/")).toBe("blueblue");
  });

  it("that have done their work are Succeeded and keep their log", async () => {
    expect((await findPod("once"))?.status?.phase).toBe("Succeeded");
    expect(await mesh.logs("once")).toBe("done\n");
  });

  it("start again when their liveness probe fails", async () => {
    await run("rm /run/shared/file");
    const restarted = async () => {
      const status = (await findPod("full"))?.status?.containerStatuses?.find((one) => one.name === "web");
      expect(status?.restartCount).toBeGreaterThan(0);
      await mesh.exec("full", ["sh", "-c", "echo again > /run/shared/file"], { container: "side" });
      expect(status).toMatchObject({ ready: true, lastState: { terminated: {} } });
    };
    await vi.waitFor(restarted, { timeout: 20_000, interval: 100 });
  });

  it("cannot choose by PATH or LD_PRELOAD what runs before their privileges are gone", async () => {
    await mesh.apply(`
apiVersion: v1
kind: Pod
metadata: {name: sly}
spec:
  initContainers:
    - name: plant
      command: [sh, -c, "for p in setpriv env sh; do printf '#!/bin/sh\\n/usr/bin/id -u > /run/bin/caught\\n' > /run/bin/$p; chmod 755 /run/bin/$p; done"]
      volumeMounts: [{name: bin, mountPath: /run/bin}]
  containers:
    - name: web
      command: [/bin/sleep, infinity]
      env: [{name: PATH, value: /run/bin}, {name: LD_PRELOAD, value: /run/bin/lib.so}]
      volumeMounts: [{name: bin, mountPath: /run/bin}]
  volumes: [{name: bin, emptyDir: {}}]
`);
    await mesh.whenReady(10_000);
    const { stdout } = await mesh.exec("sly", ["/bin/cat", "/proc/1/status", "/run/bin/caught"]);
    expect(stdout).toMatch(/^CapEff:\s*0+$/m);
    expect(stdout).toMatch(/^NoNewPrivs:\s*1$/m);
    expect(stdout).not.toMatch(/^0$/m);
  });

  it.each([
    ["a link in a subPath", "/run/x", "subPath: link,", "the subPath link of a volumeMount leads out of its volume"],
    ["a folder of the system", "/usr/bin", "", "the folder /usr/bin of a volumeMount belongs to the system"],
  ])("do not start with %s", async (_what, mountPath, subPath, complaint) => {
    const podName = `no${mountPath.replaceAll("/", "-")}`;
    const mount = `{name: v, ${subPath} mountPath: ${mountPath}}`;
    await mesh.apply(`
apiVersion: v1
kind: Pod
metadata: {name: ${podName}}
spec:
  initContainers:
    - {name: plant, command: [sh, -c, "ln -s / /run/v/link"], volumeMounts: [{name: v, mountPath: /run/v}]}
  containers:
    - {name: web, command: [sleep, infinity], volumeMounts: [${mount}]}
  volumes: [{name: v, emptyDir: {}}]
`);
    const complains = async () =>
      expect((await findPod(podName))?.status?.containerStatuses?.[0]?.state.waiting?.message).toContain(complaint);
    await vi.waitFor(complains, { timeout: 10_000, interval: 50 });
    await mesh.delete(`apiVersion: v1\nkind: Pod\nmetadata: {name: ${podName}}\n`);
  });

  it("get a folder of a volume by subPath, which is made for them", async () => {
    await mesh.apply(`
apiVersion: v1
kind: Pod
metadata: {name: parts}
spec:
  securityContext: {runAsUser: 1234}
  containers:
    - {name: web, command: [sleep, infinity], volumeMounts: [{name: v, mountPath: /run/v}]}
    - {name: side, command: [sleep, infinity], volumeMounts: [{name: v, subPath: a/b, mountPath: /run/part}]}
  volumes: [{name: v, emptyDir: {}}]
`);
    await mesh.whenReady(10_000);
    await mesh.exec("parts", ["sh", "-c", "echo here > /run/part/file"], { container: "side" });
    expect((await mesh.exec("parts", ["cat", "/run/v/a/b/file"], { container: "web" })).stdout).toBe("here\n");
  });

  it("share no memory by name with other pods", async () => {
    await run("echo secret > /dev/shm/note");
    expect((await mesh.exec("parts", ["ls", "/dev/shm"], { container: "web" })).stdout).toBe("");
  });

  it("that name a missing ConfigMap say so and start when it comes", async () => {
    await mesh.apply(
      "apiVersion: v1\nkind: Pod\nmetadata: {name: late}\nspec: {containers: [{name: a, command: [sleep, infinity], envFrom: [{configMapRef: {name: later}}]}]}\n",
    );
    await expect(mesh.whenReady(500)).rejects.toThrow("pod default/late: envFrom: there is no ConfigMap later");
    await mesh.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: later}\ndata: {a: b}\n");
    await mesh.whenReady(10_000);
  });

  it("are found by the commands, whose exit codes are theirs", async () => {
    const hairpin = async (argv: readonly string[], stdin = "") => await runProgram([launcher, ...argv], stdin);
    const named = ["--name", name];
    expect(await hairpin(["exec", ...named, "full", "--", "sh", "-c", "cat; exit 7"], "in")).toMatchObject({
      code: 7,
      stdout: "in",
    });
    expect(await hairpin(["exec", ...named, "-it", "full", "-c", "side", "--", "true"])).toMatchObject({ code: 0 });
    expect(await hairpin(["exec", ...named, "nobody", "--", "true"])).toMatchObject({ code: 125 });
    expect(await hairpin(["exec", "--name", "no-such-mesh", "full", "--", "true"])).toMatchObject({ code: 125 });
    expect((await hairpin(["logs", ...named, "once"])).stdout).toBe("done\n");
    const listed = await hairpin(["get", "po", ...named, "-o", "wide"]);
    expect(listed.stdout).toMatch(/^full +2\/2 +Running +\d+ +10\.244\.2\.2 +node2 +no/m);
    const file = join(folder, "extra.yaml");
    writeFileSync(file, "apiVersion: v1\nkind: Service\nmetadata: {name: extra}\nspec: {ports: [{port: 1}]}\n");
    expect((await hairpin(["apply", ...named, "-f", file])).stdout).toBe("service/extra in default created\n");
    expect((await hairpin(["delete", ...named, "svc/extra"])).stdout).toBe("service/extra in default deleted\n");
  });

  it("get the signals that exec gets", async () => {
    const child = spawn(launcher, [
      "exec",
      "--name",
      name,
      "full",
      "--",
      "sh",
      "-c",
      "trap 'echo got; exit 5' TERM; echo on; while :; do sleep 0.05; done",
    ]);
    let stdout = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (text.includes("on")) child.kill("SIGTERM");
    });
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect({ code, stdout }).toEqual({ code: 5, stdout: "on\ngot\n" });
  });

  it("cannot see the machine's processes, write to it or reach its disks", async () => {
    const script =
      "ls /proc | grep -c '^[0-9]'; ls /dev | grep -E '^(sd|vd|nvme)' || echo none; echo 1 > /proc/sys/kernel/panic 2>/dev/null || echo denied; cat /proc/1/comm";
    const [processes, disks, sysctl] = (await run(script)).split("\n");
    expect(Number(processes)).toBeLessThan(8);
    expect([disks, sysctl]).toEqual(["none", "denied"]);
  });

  it("leave the machine's sysctls and firewall alone", () => {
    expect(readFileSync("/proc/net/dev", "utf8")).not.toContain("hairpin0");
  });
});

async function runProgram(argv: readonly string[], stdin: string): Promise<{ code: number | null; stdout: string }> {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "ignore"] });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stdin.end(stdin);
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stdout };
}
