// What `npm run demo` shows, on examples/quickstart: each check says what it expects and finds out what happens.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { LocalMesh } from "../local/local-mesh.ts";
import { captureBridge } from "./bridge-capture.ts";
import { call, describeCall, fieldOf, findLine, ztunnelLines, type Check, type Outcome } from "./check.ts";

export interface QuickstartPaths {
  /** The folder examples/quickstart. */
  readonly quickstart: string;
}

interface PodView {
  readonly name: string;
  readonly ip: string;
  readonly node: string;
  readonly app: string;
  readonly version: string;
}

/** Pods of a namespace, as the checks need them. */
async function podsOf(mesh: LocalMesh, namespace: string): Promise<PodView[]> {
  const pods = await mesh.get("Pod", namespace);
  return pods.map((pod) => {
    const spec = pod.spec as { nodeName?: string } | undefined;
    const status = pod.status as { podIP?: string } | undefined;
    const labels = pod.metadata.labels ?? {};
    return {
      name: pod.metadata.name,
      ip: status?.podIP ?? "",
      node: spec?.nodeName ?? "",
      app: labels["app"] ?? "",
      version: labels["version"] ?? "",
    };
  });
}

async function podIp(mesh: LocalMesh, namespace: string, where: (pod: PodView) => boolean): Promise<string> {
  const pod = (await podsOf(mesh, namespace)).find(where);
  if (!pod) throw new Error(`No such pod in namespace ${namespace}`);
  return pod.ip;
}

const curlAllow = { namespace: "shop", pod: "curl-allow" };
const curlDeny = { namespace: "shop", pod: "curl-deny" };
const outsider = { namespace: "outside", pod: "curl" };
const reader = { namespace: "books", pod: "reader" };

export function quickstartChecks(paths: QuickstartPaths): Check[] {
  return [
    uncapturedCall,
    capturedCall,
    l4Deny,
    l7Methods,
    trafficSplit(paths),
    grpcSpread,
    serviceAccountWaypoint,
    hairpin,
    outsiderCannotBypass,
    plaintextRefused,
    bytesOnTheBridge,
  ];
}

const uncapturedCall: Check = {
  title: "A call outside the mesh is left alone",
  command: "outside/curl → http://hello/",
  expected: "200, straight from pod to pod",
  run: async (mesh) => {
    const result = await call(mesh, { ...outsider, url: "http://hello.outside/" });
    const caller = await podIp(mesh, "outside", ({ name }) => name === "curl");
    const seen = readJson(result.body)["caller"];
    return {
      ok: result.status === 200 && seen === caller,
      happened: `${describeCall(result)}; the server saw ${String(seen)}, the caller is ${caller}`,
    };
  },
};

const capturedCall: Check = {
  title: "A call between captured pods travels by HBONE, with both identities proven",
  command: "shop/curl-allow → http://hello/",
  expected: "200; the log names spiffe://…/sa/curl-allow and spiffe://…/sa/hello",
  run: async (mesh) => {
    const result = await call(mesh, { ...curlAllow, url: "http://hello.shop/" });
    const line = await findLine(
      () => ztunnelLines(mesh),
      (text) =>
        text.includes("connection complete") &&
        fieldOf(text, "src.workload") === "curl-allow" &&
        fieldOf(text, "direction") === "inbound",
    );
    const source = fieldOf(line ?? "", "src.identity");
    const destination = fieldOf(line ?? "", "dst.identity");
    return {
      ok:
        result.status === 200 && source.endsWith("/ns/shop/sa/curl-allow") && destination.endsWith("/ns/shop/sa/hello"),
      happened: `${describeCall(result)}; ${source || "no identity"} → ${destination || "no identity"} by ${fieldOf(line ?? "", "dst.hbone_addr") || "no tunnel"}`,
      evidence: line === undefined ? [] : [line],
    };
  },
};

const l4Deny: Check = {
  title: "An L4 policy allows one caller and refuses another, by certificate",
  command: "shop/curl-allow and shop/curl-deny → http://hello/",
  expected: "200 for curl-allow; no answer for curl-deny, refused by shop/hello-refuses-curl-deny",
  run: async (mesh) => {
    const allowed = await call(mesh, { ...curlAllow, url: "http://hello.shop/" });
    const denied = await call(mesh, { ...curlDeny, url: "http://hello.shop/" });
    const line = await findLine(
      () => ztunnelLines(mesh),
      (text) => text.includes("hello-refuses-curl-deny") && text.includes("error="),
    );
    return {
      ok: allowed.status === 200 && denied.status === 0 && line !== undefined,
      happened: `curl-allow: ${describeCall(allowed)}; curl-deny: ${describeCall(denied)}, ${fieldOf(line ?? "", "error") || "no policy named"}`,
      evidence: line === undefined ? [] : [line],
    };
  },
};

const l7Methods: Check = {
  title: "The waypoint applies a policy on HTTP methods",
  command: "books/reader → GET, POST, DELETE http://reviews/",
  expected: "GET 200, POST 403, DELETE 403 (RBAC: access denied)",
  run: async (mesh) => {
    const results = await Promise.all(
      ["GET", "POST", "DELETE"].map((method) => call(mesh, { ...reader, url: "http://reviews/", method })),
    );
    const [get, post, remove] = results;
    return {
      ok:
        get?.status === 200 &&
        [post, remove].every((result) => result?.status === 403 && result.body === "RBAC: access denied"),
      happened: `GET ${get ? describeCall(get) : ""}, POST ${post ? describeCall(post) : ""}, DELETE ${remove ? describeCall(remove) : ""}: ${JSON.stringify(post?.body)}`,
    };
  },
};

const splitCalls = 60;

/** A route's weights, counted, then changed under way. */
function trafficSplit({ quickstart }: QuickstartPaths): Check {
  return {
    title: "A route splits traffic, and moves live",
    command: `books/reader → ${splitCalls} × http://reviews/; apply later/reviews-to-v2.yaml; ${splitCalls} more`,
    expected: "both versions, about half each; then v2 alone",
    run: async (mesh) => {
      const before = await countVersions(mesh, splitCalls);
      await mesh.apply(await readFile(join(quickstart, "later/reviews-to-v2.yaml"), "utf8"));
      const startedAt = performance.now();
      let moved = await countVersions(mesh, 1);
      while ((moved["v1"] ?? 0) > 0 && performance.now() - startedAt < 5000) moved = await countVersions(mesh, 1);
      const after = await countVersions(mesh, splitCalls);
      const halves = ["v1", "v2"].every((version) => (before[version] ?? 0) > splitCalls / 5);
      return {
        ok: halves && after["v2"] === splitCalls,
        happened: `${formatCounts(before)}; after the change ${formatCounts(after)}`,
      };
    },
  };
}

const grpcCalls = 30;

const grpcSpread: Check = {
  title: "gRPC calls on one connection are spread over the pods",
  command: `books/reader: ${grpcCalls} calls over one connection to ratings:9090`,
  expected: "answers from 3 pods",
  run: async (mesh) => {
    const counts = await callGrpc(mesh);
    const pods = Object.keys(counts);
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    return { ok: pods.length === 3 && total === grpcCalls, happened: formatCounts(counts) };
  },
};

const serviceAccountWaypoint: Check = {
  title: "A service account's own waypoint beats the namespace's",
  command: "books/reader → ratings (its pods run as service account ratings)",
  expected: "the calls pass ratings-waypoint, not waypoint",
  run: async (mesh) => {
    await callGrpc(mesh);
    const isCall = (line: string): boolean => fieldOf(line, "path") === "/greeter.Greeter/Hello";
    const lines = async (name: string): Promise<string[]> => (await mesh.logs(`waypoint/${name}`, "books")).split("\n");
    const line = await findLine(() => lines("ratings-waypoint"), isCall);
    const wrong = (await lines("waypoint")).filter(isCall).length;
    const right = (await lines("ratings-waypoint")).filter(isCall).length;
    return {
      ok: right > 0 && wrong === 0,
      happened: `${right} calls logged by ratings-waypoint, ${wrong} by waypoint`,
      evidence: line === undefined ? [] : [line],
    };
  },
};

const hairpin: Check = {
  title: "A call that goes round the waypoint is hairpinned to it",
  command: "books/reader → http://<IP of a reviews pod>:8080/, GET and POST",
  expected: "GET 200, POST 403, as by the Service",
  run: async (mesh) => {
    const ip = await podIp(mesh, "books", ({ app }) => app === "reviews");
    const url = `http://${ip}:8080/`;
    const get = await call(mesh, { ...reader, url });
    const post = await call(mesh, { ...reader, url, method: "POST" });
    return {
      ok: get.status === 200 && post.status === 403,
      happened: `GET ${describeCall(get)}, POST ${describeCall(post)}`,
    };
  },
};

const outsiderCannotBypass: Check = {
  title: "A caller outside the mesh cannot go round it either",
  command: "outside/curl → POST http://reviews.books/ and POST http://<IP of a reviews pod>:8080/",
  expected: "403 twice; the same call with GET: 200",
  run: async (mesh) => {
    const ip = await podIp(mesh, "books", ({ app }) => app === "reviews");
    const byService = await call(mesh, { ...outsider, url: "http://reviews.books/", method: "POST" });
    const byIp = await call(mesh, { ...outsider, url: `http://${ip}:8080/`, method: "POST" });
    const get = await call(mesh, { ...outsider, url: `http://${ip}:8080/` });
    const lines = async (): Promise<string[]> => (await mesh.logs("waypoint/waypoint", "books")).split("\n");
    const line = await findLine(
      lines,
      (text) => text.includes("hairpinned=true") && fieldOf(text, "method") === "POST",
    );
    return {
      ok: byService.status === 403 && byIp.status === 403 && get.status === 200 && line !== undefined,
      happened: `POST by Service ${describeCall(byService)}, by pod IP ${describeCall(byIp)}; GET ${describeCall(get)}`,
      evidence: line === undefined ? [] : [line],
    };
  },
};

const plaintextRefused: Check = {
  title: "A policy that wants an identity stops plaintext",
  command: "outside/curl and shop/curl-allow → http://vault.shop/",
  expected: "no answer for outside/curl, 200 for shop/curl-allow",
  run: async (mesh) => {
    const plaintext = await call(mesh, { ...outsider, url: "http://vault.shop/" });
    const captured = await call(mesh, { ...curlAllow, url: "http://vault.shop/" });
    const line = await findLine(
      () => ztunnelLines(mesh),
      (text) =>
        text.includes("connection complete") &&
        fieldOf(text, "src.workload") === "curl" &&
        text.includes("none allowed"),
    );
    return {
      ok: plaintext.status === 0 && captured.status === 200 && line !== undefined,
      happened: `outside/curl: ${describeCall(plaintext)}, ${fieldOf(line ?? "", "error") || "no reason logged"}; shop/curl-allow: ${describeCall(captured)}`,
      evidence: line === undefined ? [] : [line],
    };
  },
};

const bytesOnTheBridge: Check = {
  title: "Between the nodes there is only TLS",
  command:
    "look at the bridge while a captured and an uncaptured pod call a pod on the other node, each with a secret header",
  expected: "the uncaptured secret is readable, the captured one is not",
  run: async (mesh): Promise<Outcome> => {
    const captured = `captured-${randomWord()}`;
    const uncaptured = `uncaptured-${randomWord()}`;
    const capturedUrl = await urlOnOtherNode(mesh, "shop", "curl-allow");
    const uncapturedUrl = await urlOnOtherNode(mesh, "outside", "curl");
    const seen = await captureBridge(mesh, [captured, uncaptured], async () => {
      await call(mesh, { ...curlAllow, url: capturedUrl, headers: { "x-secret": captured } });
      await call(mesh, { ...outsider, url: uncapturedUrl, headers: { "x-secret": uncaptured } });
    });
    const [clear, hidden] = [seen.counts[uncaptured] ?? 0, seen.counts[captured] ?? 0];
    return {
      ok: hidden === 0 && clear > 0 && seen.hbonePackets > 0,
      happened: `${seen.packets} packets, ${seen.hbonePackets} of them HBONE; captured secret seen ${hidden} times, uncaptured ${clear} times`,
    };
  },
};

/** A `hello` pod of the namespace that runs on another node than the caller. */
async function urlOnOtherNode(mesh: LocalMesh, namespace: string, callerName: string): Promise<string> {
  const pods = await podsOf(mesh, namespace);
  const caller = pods.find(({ name }) => name === callerName);
  const other = pods.find(({ app, node }) => app === "hello" && node !== caller?.node);
  if (!other) throw new Error(`Every hello pod of ${namespace} runs on the node of ${callerName}`);
  return `http://${other.ip}:8080/`;
}

async function countVersions(mesh: LocalMesh, calls: number): Promise<Record<string, number>> {
  const script = `i=0; while [ $i -lt ${calls} ]; do curl -sS -m 5 http://reviews/; i=$((i+1)); done`;
  const { stdout } = await mesh.exec("reader", ["sh", "-c", script], { namespace: "books", timeoutMs: 60_000 });
  return countBy(
    stdout.split("\n").filter((line) => line !== ""),
    (line) => String(readJson(line)["version"]),
  );
}

async function callGrpc(mesh: LocalMesh): Promise<Record<string, number>> {
  const script = `exec node "$HAIRPIN_HOME/examples/quickstart/apps/grpc-call.ts" ratings:9090 ${grpcCalls}`;
  const { stdout, stderr, exitCode } = await mesh.exec("reader", ["sh", "-c", script], { namespace: "books" });
  if (exitCode !== 0) throw new Error(`grpc-call ended with ${exitCode}: ${stderr.trim()}`);
  return Object.fromEntries(Object.entries(readJson(stdout)).map(([pod, count]) => [pod, Number(count)]));
}

function readJson(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function countBy(items: readonly string[], keyOf: (item: string) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[keyOf(item)] = (counts[keyOf(item)] ?? 0) + 1;
  return counts;
}

function formatCounts(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, count]) => `${key}: ${count}`)
    .join(", ");
}

function randomWord(): string {
  return Math.random().toString(36).slice(2, 12);
}
