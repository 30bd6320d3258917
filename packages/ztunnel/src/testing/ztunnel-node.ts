// A whole ztunnel in this process, with fakes of the control plane, and what the applications of its pods do.
import { once } from "node:events";
import type { Socket } from "node:net";
import { type RootLogger, createLogger } from "@hairpin/shared/telemetry";
import { eventually, type FakeXdsServer, type startFakeCaServer, type TestAuthority } from "@hairpin/testkit";
import { createZtunnel, type Ztunnel } from "../app.ts";
import { readConfig } from "../config.ts";
import type { TestPod } from "./network-host.ts";

/** Lines pass threads, on a machine that may be busy. */
const patient = { timeoutMs: 20_000 };

export interface ControlPlane {
  readonly authority: TestAuthority;
  readonly xds: FakeXdsServer;
  readonly ca: Awaited<ReturnType<typeof startFakeCaServer>>;
}

export interface TestNode {
  readonly ztunnel: Ztunnel;
  readonly logger: RootLogger;
  readonly lines: readonly string[];
  /** Has the pod of namespace `ns` served and captured. */
  serve(pod: TestPod): Promise<void>;
  /** The line that the node wrote about a connection: they are told apart by their ports. */
  line(...parts: readonly string[]): Promise<string>;
  /** GET of its admin or metrics server. */
  get(server: "admin server" | "metrics server", path: string): Promise<string>;
  stop(): Promise<void>;
}

export async function startTestNode(
  name: string,
  { authority, xds, ca }: ControlPlane,
  environment: Readonly<Record<string, string>> = {},
): Promise<TestNode> {
  const lines: string[] = [];
  const logger = createLogger({ destination: { write: (line) => lines.push(line), flush() {} } });
  const config = readConfig({
    NODE_NAME: name,
    XDS_ADDRESS: xds.address,
    CA_ADDRESS: ca.address,
    CA_ROOT_CA: authority.rootPem,
    AUTH_TOKEN: "token",
    CONNECTION_TERMINATION_DEADLINE: "10s",
    ...environment,
  });
  const anyPort = { host: "127.0.0.1", port: 0 };
  const ztunnel = createZtunnel(
    { ...config, admin: anyPort, metrics: anyPort, readiness: anyPort },
    { logger, quit: () => {} },
  );
  for (const component of ztunnel.components) await component.start();
  return {
    ztunnel,
    logger,
    lines,
    async serve(pod) {
      const info = { name: pod.name, namespace: "ns", serviceAccount: pod.name };
      await ztunnel.dataPlane.pods.add({ uid: `uid-${pod.name}`, info }, pod.open());
      pod.capture();
    },
    line: (...parts) =>
      eventually(() => {
        const found = lines.find((candidate) => parts.every((part) => candidate.includes(part)));
        if (found === undefined) throw new Error(`no line with ${parts.join(", ")} in:\n${lines.join("")}`);
        return found;
      }, patient),
    async get(server, path) {
      const established = lines.find((line) => line.includes(`component="${server}"`));
      const port = /port=(\d+)/.exec(established ?? "")?.[1] ?? "";
      return await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
    },
    async stop() {
      for (const component of ztunnel.components.toReversed()) await component.stop();
    },
  };
}

/** Sends a text and the end; gives all that came back until the connection closed. */
export async function exchange(socket: Socket, text: string): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.end(text);
  await closed;
  return Buffer.concat(chunks).toString();
}

/** One text there and back on a connection that stays open. Rejects when the connection closes instead, or answers anything else. */
export async function echo(socket: Socket, text: string): Promise<void> {
  const answered = once(socket, "data") as Promise<[Buffer]>;
  const closed = once(socket, "close").then(() => Promise.reject(new Error("closed")));
  socket.write(text);
  const [answer] = await Promise.race([answered, closed]);
  if (answer.toString() !== text) throw new Error(`${JSON.stringify(answer.toString())} instead of ${text}`);
}
