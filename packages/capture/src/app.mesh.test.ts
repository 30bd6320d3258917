import { execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { createKubernetesApi } from "@hairpin/shared/kubernetes";
import { type RunningComponents, runComponents, systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { eventually, FakeApiServer } from "@hairpin/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type CaptureAgent, createCapture } from "./app.ts";
import { nftBackend } from "./choose-rule-backend.ts";
import { readConfig } from "./config.ts";
import { hostProc } from "./node/host-proc.ts";
import { FakeZtunnel } from "./testing/fake-ztunnel.ts";

const repository = join(import.meta.dirname, "../../..");
const conflist = JSON.stringify({ cniVersion: "1.0.0", name: "pods", plugins: [{ type: "ptp" }] });
const patient = { timeoutMs: 20_000 };

/** A node: namespaces of its own, a /proc that names them, folders of plugins, an API server, and the plugin as a runtime runs it. */
describe("the agent on a node", () => {
  let bundle: string;
  let folder: string;
  let fake: FakeApiServer;
  let agent: CaptureAgent;
  let running: RunningComponents | undefined;
  let names: string[];
  const zdsSocket = (): string => join(folder, "zds/ztunnel.sock");

  beforeAll(() => {
    bundle = mkdtempSync(join(tmpdir(), "bundle-"));
    execFileSync(process.execPath, [join(repository, "scripts/build-bundle.ts"), bundle, "cni-plugin.cjs"]);
  });
  afterAll(() => rmSync(bundle, { recursive: true }));

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "node-"));
    names = [];
    for (const name of ["bin", "conf", "run", "secret"]) mkdirSync(join(folder, name));
    for (const name of ["token", "ca.crt"]) writeFileSync(join(folder, "secret", name), "none");
    writeFileSync(join(folder, "conf/10-pods.conflist"), conflist);
    mkdirSync(join(folder, "proc/1/ns"), { recursive: true });
    symlinkSync("/", join(folder, "proc/1/root"));
    symlinkSync(namespace("host"), join(folder, "proc/1/ns/net"));
    fake = await FakeApiServer.start();
    fake.put(
      {
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name: "shop", labels: { "istio.io/dataplane-mode": "ambient" } },
      },
      { apiVersion: "apps/v1", kind: "DaemonSet", metadata: { name: "agent", namespace: "istio-system" } },
    );
    await startAgent();
  });
  afterEach(async () => {
    await running?.stop();
    await fake[Symbol.asyncDispose]();
    for (const name of names) execFileSync("ip", ["netns", "del", name]);
    rmSync(folder, { recursive: true });
  });

  async function startAgent(): Promise<void> {
    const config = readConfig({
      NODE_NAME: "node-1",
      KUBERNETES_SERVICE_HOST: "127.0.0.1",
      DAEMON_SET_NAME: "agent",
      ZTUNNEL_UDS_ADDRESS: zdsSocket(),
      CAPTURE_RUN_DIR: join(folder, "run"),
      CNI_BIN_DIR: join(folder, "bin"),
      CNI_CONF_DIR: join(folder, "conf"),
      CNI_PLUGIN_PATH: join(bundle, "cni-plugin.cjs"),
      LISTEN_IP: "127.0.0.1",
    });
    const connection = { server: new URL(fake.address), requestOptions: async () => ({}) };
    const api = createKubernetesApi({ connection, clock: systemClock });
    const host = hostProc(join(folder, "proc"));
    agent = createCapture(
      { ...config, api: { ...config.api, folder: join(folder, "secret") }, ports: { readiness: 0, metrics: 0 } },
      { api, rules: nftBackend, host, logger: noLogger, clock: systemClock },
    );
    running = await runComponents(agent.components, { logger: noLogger, signals: { on: () => {}, off: () => {} } });
  }

  function namespace(word: string): string {
    const name = `hp-agent-${process.pid}-${word}`;
    execFileSync("ip", ["netns", "add", name]);
    execFileSync("ip", ["-n", name, "link", "set", "lo", "up"]);
    names.push(name);
    return `/run/netns/${name}`;
  }

  const rulesIn = (netns: string): string =>
    execFileSync("nsenter", [`--net=${netns}`, "nft", "list", "ruleset"], { encoding: "utf8" });
  const annotation = (name: string): string | undefined =>
    fake.find("Pod", "shop", name)?.metadata.annotations?.["ambient.istio.io/redirection"];

  function putPod(
    name: string,
    ip: string,
    given: { readonly labels?: object; readonly running?: boolean } = {},
  ): void {
    fake.put({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "shop", labels: given.labels ?? {} },
      spec: { nodeName: "node-1" },
      status: given.running === true ? { phase: "Running", podIPs: [{ ip }] } : { phase: "Pending" },
    });
  }

  /** As a container runtime calls the plugin; not in one breath, since the agent lives in this process. */
  async function callPlugin(command: string, name: string, netns: string, ip = "10.9.0.7") {
    const { plugins } = JSON.parse(readFileSync(join(folder, "conf/10-pods.conflist"), "utf8"));
    const prevResult = { cniVersion: "1.0.0", ips: [{ address: `${ip}/24` }] };
    const uid = fake.find("Pod", "shop", name)?.metadata.uid;
    const child = spawn(join(folder, "bin/hairpin-cni"), {
      stdio: ["pipe", "pipe", "inherit"],
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: `sandbox-${name}`,
        CNI_NETNS: netns,
        CNI_ARGS: `K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${name};K8S_POD_UID=${uid}`,
      },
    });
    child.stdin.end(JSON.stringify({ cniVersion: "1.0.0", name: "pods", ...plugins.at(-1), prevResult }));
    const { promise, resolve } = Promise.withResolvers<number | null>();
    child.on("close", resolve);
    const [answer, status] = await Promise.all([text(child.stdout), promise]);
    return { status, answer: answer === "" ? "" : JSON.parse(answer), prevResult };
  }

  async function connectZtunnel(): Promise<FakeZtunnel> {
    const ztunnel = new FakeZtunnel(zdsSocket());
    await eventually(() => expect(ztunnel.heard).toContain("snapshotSent"), patient);
    return ztunnel;
  }

  it("captures a pod before its first program, by the call of the runtime", async () => {
    const ztunnel = await connectZtunnel();
    putPod("a", "10.9.0.7");
    const netns = namespace("a");
    const { status, answer, prevResult } = await callPlugin("ADD", "a", netns);
    // All of it when the call returns; the annotation a moment later.
    expect(rulesIn(netns)).toContain("redirect to :15001");
    expect(rulesIn("/run/netns/" + names[0])).toContain("10.9.0.7");
    expect(ztunnel.heard.at(-1)).toBe(`add ${fake.find("Pod", "shop", "a")?.metadata.uid}`);
    expect({ status, answer }).toEqual({ status: 0, answer: prevResult });
    await eventually(() => expect(annotation("a")).toBe("enabled"), patient);
    expect((await callPlugin("DEL", "a", netns)).status).toBe(0);
    expect(ztunnel.heard.at(-1)).toMatch(/^del /);
    expect(rulesIn("/run/netns/" + names[0])).not.toContain("10.9.0.7");
  });

  it("lets other pods start, and captures them when their labels say so", async () => {
    const ztunnel = await connectZtunnel();
    const netns = namespace("a");
    putPod("a", "10.9.0.7", { labels: { "istio.io/dataplane-mode": "none" } });
    expect((await callPlugin("ADD", "a", netns)).status).toBe(0);
    expect(rulesIn(netns)).toBe("");
    putPod("a", "10.9.0.7", { running: true });
    await eventually(() => expect(annotation("a")).toBe("enabled"), patient);
    expect(ztunnel.heard.at(-1)).toMatch(/^add /);
    expect(rulesIn(netns)).toContain("redirect to :15001");
  });

  it("does not let a pod start that no ztunnel takes, and says why", async () => {
    putPod("a", "10.9.0.7");
    const { status, answer } = await callPlugin("ADD", "a", namespace("a"));
    expect(status).toBe(1);
    expect(answer.msg).toBe("hairpin: pod shop/a cannot be captured: No ztunnel is connected on this node");
  });

  it("puts back a rule that was taken away by hand", async () => {
    await connectZtunnel();
    putPod("a", "10.9.0.7");
    const netns = namespace("a");
    await callPlugin("ADD", "a", netns);
    await agent.reconcile();
    execFileSync("nsenter", [`--net=${netns}`, "nft", "flush", "chain", "inet", "istio-ambient-nat", "istio-output"]);
    execFileSync("nsenter", [`--net=/run/netns/${names[0]}`, "nft", "delete", "table", "inet", "istio-ambient-nat"]);
    await agent.reconcile();
    expect(rulesIn(netns)).toContain("redirect to :15001");
    expect(rulesIn(`/run/netns/${names[0]}`)).toContain("10.9.0.7");
  });

  it("tells the users of a running pod that it cannot find", async () => {
    putPod("a", "10.9.0.7", { running: true });
    await eventually(async () => {
      await agent.reconcile();
      const events = fake.store.list(fake.servedKind("Event"));
      expect(events).toMatchObject([
        { reason: "CaptureFailed", message: expect.stringContaining("network namespace") },
      ]);
    }, patient);
    expect(annotation("a")).toBeUndefined();
  });

  it("takes over from the agent before: its pods are in ztunnel's first snapshot, and stay as they are", async () => {
    await connectZtunnel();
    putPod("a", "10.9.0.7");
    const netns = namespace("a");
    await callPlugin("ADD", "a", netns);
    await eventually(() => expect(annotation("a")).toBe("enabled"), patient);
    await running?.stop();
    putPod("a", "10.9.0.7", { running: true });
    await eventually(() => expect(annotation("a")).toBeUndefined(), patient);
    const uid = fake.find("Pod", "shop", "a")?.metadata.uid ?? "";
    execFileSync("ip", ["-n", names[1] ?? "", "address", "add", "10.9.0.7/32", "dev", "lo"]);
    mkdirSync(join(folder, "proc/200/ns"), { recursive: true });
    symlinkSync(netns, join(folder, "proc/200/ns/net"));
    writeFileSync(join(folder, "proc/200/cgroup"), `0::/kubepods/pod${uid}/c\n`);
    writeFileSync(join(folder, "proc/200/stat"), "200 (a) S 0");
    const before = await callPlugin("ADD", "a", netns);
    expect(before.answer.msg).toMatch(/node agent cannot be asked.*may not start until/);
    await startAgent();
    const ztunnel = await connectZtunnel();
    expect(ztunnel.heard.slice(0, 2)).toEqual([`add ${uid}`, "snapshotSent"]);
    await eventually(() => expect(annotation("a")).toBe("enabled"), patient);
    expect(rulesIn(netns)).toContain("redirect to :15001");
  });

  it("leaves everything in place when another agent follows", async () => {
    await agent.shutdown();
    await running?.stop();
    expect(readdirSync(join(folder, "bin"))).toContain("hairpin-cni");
    expect(readFileSync(join(folder, "conf/10-pods.conflist"), "utf8")).toContain("hairpin-cni");
  });

  it("leaves nothing behind when its DaemonSet is deleted", async () => {
    await connectZtunnel();
    putPod("a", "10.9.0.7");
    const netns = namespace("a");
    await callPlugin("ADD", "a", netns);
    fake.remove("DaemonSet", "istio-system", "agent");
    await agent.shutdown();
    await running?.stop();
    expect(rulesIn(netns)).toBe("");
    expect(rulesIn(`/run/netns/${names[0]}`)).toBe("");
    expect(annotation("a")).toBeUndefined();
    expect(readdirSync(join(folder, "bin"))).toEqual([]);
    expect(readdirSync(join(folder, "conf"))).toEqual(["10-pods.conflist"]);
    expect(JSON.parse(readFileSync(join(folder, "conf/10-pods.conflist"), "utf8"))).toEqual(JSON.parse(conflist));
    expect(existsSync(join(folder, "run"))).toBe(false);
    expect(existsSync(zdsSocket())).toBe(false);
  });
});
