// Where the CNI plugin of this node asks.
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { type Component, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { type AgentAnswer, type AgentRequest, maxLineBytes, parseAgentRequest } from "./agent-protocol.ts";

/** Pods of a node that start at once; more wait in the kernel's queue. */
const maxConnections = 512;
/** The plugin writes its line at once. */
const requestTimeoutMs = 5_000;

/** A unix socket of mode 0600 in a folder of mode 0700: only root asks. */
export class AgentServer implements Component {
  readonly name = "cni socket";
  readonly #path: string;
  readonly #answer: (request: AgentRequest) => Promise<AgentAnswer>;
  readonly #logger: Logger;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  /** `answer` does not reject. */
  constructor(path: string, answer: (request: AgentRequest) => Promise<AgentAnswer>, logger: Logger) {
    this.#path = path;
    this.#answer = answer;
    this.#logger = logger;
  }

  async start(): Promise<void> {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    // Left by an agent that was killed; a living one would be stopped by the DaemonSet first.
    rmSync(this.#path, { force: true });
    const server = createServer((socket) => this.#serve(socket));
    server.maxConnections = maxConnections;
    this.#server = server;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen(this.#path, resolve);
    await promise;
    chmodSync(this.#path, 0o600);
  }

  /** The socket goes at once: the plugin finds nobody rather than one that does not answer. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", (error) => this.#logger.debug("the plugin went away", { error: error.message }));
    socket.setTimeout(requestTimeoutMs, () => socket.destroy());
    socket.setEncoding("utf8");
    let received = "";
    socket.on("data", (text: string) => {
      received += text;
      const end = received.indexOf("\n");
      if (end < 0 && received.length > maxLineBytes) socket.destroy();
      if (end < 0) return;
      socket.pause();
      // The answer takes as long as it takes: the plugin has a limit.
      socket.setTimeout(0);
      void this.#reply(socket, received.slice(0, end));
    });
  }

  /** Never rejects. */
  async #reply(socket: Socket, line: string): Promise<void> {
    const request = parseAgentRequest(line);
    const answer = await (request === undefined
      ? { outcome: "failed" as const, reason: "The node agent does not understand the plugin" }
      : this.#answer(request).catch((error: unknown) => ({ outcome: "failed" as const, reason: errorMessage(error) })));
    if (!socket.destroyed) socket.end(`${JSON.stringify(answer)}\n`);
  }
}
