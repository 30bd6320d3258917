// Pods without namespaces: each has an address of 127.0.0.0/8, its proxies listen there on the real ports, and what the
// kernel would say of a redirected connection is said by the test.
import { once } from "node:events";
import net from "node:net";
import {
  createTunnelResetBudgets,
  defaultTunnelDialerOptions,
  defaultTunnelListenerOptions,
  SessionMetrics,
} from "@hairpin/hbone";
import type { MeshState } from "@hairpin/shared/discovery";
import { formatSpiffeId, type Identity, type SocketAddress, tryParseSocketAddress } from "@hairpin/shared/model";
import { Drain, systemClock } from "@hairpin/shared/process";
import { createAccessLog, createLogger, MetricRegistry } from "@hairpin/shared/telemetry";
import { TestAuthority } from "@hairpin/testkit";
import { connectTcp, createNodeTlsEngine, listenTcp, type TlsContext, type TlsEngine } from "@hairpin/wire";
import { podPorts } from "../config.ts";
import { ConnectionLimit } from "../connection-limit.ts";
import { ConnectionTable } from "../connection-table.ts";
import type { DataPath, DataPathOptions } from "../pod-context.ts";
import type { PodNetwork } from "../pod-network.ts";
import { PodProxy } from "../pod-proxy.ts";
import { ZtunnelError } from "../response-flag.ts";
import { ConnectionTelemetry } from "../telemetry/connection-telemetry.ts";
import { workloadNamed } from "./mesh.ts";

/** The first three bytes of every pod's address; random, so that two runs at once do not meet. */
export function loopbackPrefix(): string {
  const byte = (): number => 2 + Math.floor(Math.random() * 250);
  return `127.${byte()}.${byte()}`;
}

export interface LoopbackMesh extends AsyncDisposable {
  readonly mesh: MeshState;
  readonly authority: TestAuthority;
  readonly table: ConnectionTable;
  readonly drain: Drain;
  readonly metrics: MetricRegistry;
  /** Lines of the access log and others, as written. */
  readonly lines: string[];
  /** Serves a pod by its workload's name. */
  serve(name: string): Promise<PodProxy>;
  /** Connects as an application of the pod does: captured, on its way to `destination`. */
  callFrom(name: string, destination: string): Promise<net.Socket>;
  /** Connects to the pod's `port` without tunnel, from an address of one's own choice. */
  plaintext(name: string, port: number, fromIp: string): Promise<net.Socket>;
}

/** What the pods share besides the mesh. */
export interface LoopbackProcess {
  /** Default: node:tls. */
  readonly tls?: TlsEngine;
  /** Default 1000. */
  readonly maxConnections?: number;
}

export function createLoopbackMesh(
  mesh: MeshState,
  options: Partial<DataPathOptions> = {},
  { tls = createNodeTlsEngine(), maxConnections = 1000 }: LoopbackProcess = {},
): LoopbackMesh {
  const authority = new TestAuthority();
  const metrics = new MetricRegistry();
  const lines: string[] = [];
  const logger = createLogger({ level: "info", destination: { write: (line) => lines.push(line), flush() {} } });
  const contexts = new Map<string, TlsContext>();
  const drain = new Drain();
  const table = new ConnectionTable({ mesh, clock: systemClock }, 50);
  const stopWatching = table.watch();
  const path: DataPath = {
    mesh,
    table,
    telemetry: new ConnectionTelemetry({ metrics, accessLog: createAccessLog(logger), clock: systemClock }),
    tls,
    sessionMetrics: new SessionMetrics(metrics),
    resetBudgets: createTunnelResetBudgets(),
    connections: new ConnectionLimit(maxConnections),
    contextFor: async (identity: Identity) => {
      const key = formatSpiffeId(identity);
      const context = contexts.get(key) ?? tls.createContext(authority.material(identity));
      contexts.set(key, context);
      return context;
    },
    resolveHostname: async () => "127.0.0.1",
    clock: systemClock,
    drain,
    logger,
    options: {
      network: "",
      ownIdentity: authority.identity("istio-system/ztunnel"),
      illegalPorts: new Set(Object.values(podPorts)),
      workloadWaitMs: 50,
      sourceWaitMs: 50,
      policyWaitMs: 50,
      connectTimeoutMs: 1000,
      listener: defaultTunnelListenerOptions,
      responseBaggage: true,
      logPolicyAtInfo: false,
      maxConnectionsPerListener: 1000,
      ...options,
    },
  };
  /** Where captured connections wanted to go, in the order of their arrival at a pod. */
  const wanted = new Map<string, SocketAddress[]>();
  const proxies: PodProxy[] = [];
  const addressOf = (name: string): string => workloadNamed(mesh, name).addresses[0] ?? "";
  const queue = (name: string, destination: SocketAddress): void => {
    wanted.set(addressOf(name), [...(wanted.get(addressOf(name)) ?? []), destination]);
  };
  const dial = async (host: string, port: number, localAddress: string): Promise<net.Socket> => {
    const socket = net.connect({ host, port, localAddress, allowHalfOpen: true });
    await once(socket, "connect");
    socket.on("error", () => {});
    return socket;
  };
  return {
    mesh,
    authority,
    table,
    drain,
    metrics,
    lines,
    async serve(name) {
      const workload = workloadNamed(mesh, name);
      const address = addressOf(name);
      const network = loopbackNetwork(address, () => wanted.get(address)?.shift());
      const pod = { uid: `uid-${name}`, info: { ...workload } };
      const components = { path, onLimit: () => {} };
      const proxy = await PodProxy.start(pod, network, components, {
        ports: podPorts,
        dialer: { ...defaultTunnelDialerOptions, connectTimeoutMs: 1000 },
      });
      proxies.push(proxy);
      return proxy;
    },
    async callFrom(name, destination) {
      const address = tryParseSocketAddress(destination);
      if (!address) throw new Error(`bad destination ${destination}`);
      queue(name, address);
      return await dial(addressOf(name), podPorts.outbound, addressOf(name));
    },
    async plaintext(name, port, fromIp) {
      queue(name, { ip: addressOf(name), port });
      return await dial(addressOf(name), podPorts.inboundPlaintext, fromIp);
    },
    async [Symbol.asyncDispose]() {
      stopWatching();
      const error = new ZtunnelError("the test is over", { code: "POD_REMOVED", origin: "internal" });
      await Promise.all(proxies.map((proxy) => proxy.stop(error)));
      for (const context of contexts.values()) context.close();
    },
  };
}

function loopbackNetwork(ip: string, wanted: () => SocketAddress | undefined): PodNetwork {
  return {
    canSpoofSource: true,
    listen: (port, { onConnection }) => listenTcp({ host: ip, port, onConnection }),
    connect: (destination, { timeoutMs, spoofedSource }) =>
      connectTcp({ ...destination, timeoutMs, localIp: spoofedSource ?? ip }),
    bindUdp: () => Promise.reject(new Error("no UDP here")),
    hasIpv6: () => false,
    originalDestination: (socket) => wanted() ?? { ip, port: socket.localPort ?? 0 },
    close() {},
  };
}
