// client → ztunnel → HBONE → ztunnel → application, each ztunnel on a node of its own, with capture, policy, metrics and
// access log as a user has them.
import { existsSync } from "node:fs";
import { runCommand } from "../arena/run-command.ts";
import type { Arena } from "../arena/arena.ts";
import { allowAccount, meshNamespace, meshPod } from "../arena/manifests.ts";
import { createEnds, directTarget } from "./application.ts";
import { AbsentError, type Lane, type RunningLane } from "./lane.ts";
import {
  checkEngine,
  type HairpinRuntime,
  hairpinZtunnel,
  startZtunnel,
  type ZtunnelProgram,
} from "./ztunnel-program.ts";

export function hairpinPairLane(runtime: HairpinRuntime): Lane {
  return {
    id: `hairpin-${runtime.engine}`,
    title: `Hairpin's ztunnel pair, ${runtime.engine === "libssl" ? "libssl" : "node:tls"}`,
    kind: "tcp",
    async start(arena) {
      const running = await startPair(arena, `hairpin-${runtime.engine}`, await hairpinZtunnel(arena, runtime));
      for (const { host } of running.nodes) await checkEngine(host, runtime.engine);
      return running;
    },
  };
}

export const ztunnelPairLane: Lane = {
  id: "ztunnel",
  title: "Istio's ztunnel pair",
  kind: "tcp",
  async start(arena) {
    const path = arena.options.ztunnel;
    if (path === undefined) throw new AbsentError("ZTUNNEL_BIN is not set");
    if (!existsSync(path)) throw new AbsentError(`there is no ${path}`);
    const running = await startPair(arena, "ztunnel", {
      command: [path, "proxy", "ztunnel"],
      environment: { RUST_LOG: "info" },
    });
    const version = await runCommand([path, "version"]).catch(() => "");
    return { ...running, remark: /CryptoProvider:"([^"]+)"/.exec(version)?.[1] ?? "" };
  },
};

async function startPair(
  arena: Arena,
  id: string,
  program: ZtunnelProgram,
): Promise<RunningLane & { readonly nodes: readonly Awaited<ReturnType<typeof startZtunnel>>[] }> {
  const ends = await createEnds(arena);
  const namespace = `bench-${id}`;
  const [nodeA, nodeB] = [`${id}-a`, `${id}-b`];
  const [hostA, hostB] = [await arena.host(ends.lane, "node-a", 11), await arena.host(ends.lane, "node-b", 12)];
  const at = (name: string, node: string, host: typeof ends.client) =>
    meshPod({ namespace, name, serviceAccount: name, node, host, captured: true });
  const client = at("client", nodeA, ends.client);
  const server = at("server", nodeB, ends.server);
  await arena.applyPods(
    namespace,
    [client, server],
    [...meshNamespace(namespace), allowAccount(namespace, "server", "client")],
  );
  const a = await startZtunnel(arena, nodeA, hostA, program);
  const b = await startZtunnel(arena, nodeB, hostB, program);
  await a.agent.capture(client, a.ztunnel);
  await b.agent.capture(server, b.ztunnel);
  return {
    client: ends.client,
    target: directTarget(ends),
    proxies: [a.ztunnel, b.ztunnel],
    programs: [ends.application, a.ztunnel, b.ztunnel],
    nodes: [a, b],
  };
}
