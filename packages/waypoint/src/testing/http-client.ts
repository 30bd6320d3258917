// Clients of captured ports: Node's own, and raw bytes.
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import type { CapturedPort } from "./source-ztunnel.ts";

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly trailers: NodeJS.Dict<string>;
  readonly body: string;
}

export interface RequestInit {
  readonly method?: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string | Uint8Array;
  /** Default: a connection of its own. */
  readonly agent?: http.Agent;
}

/** One HTTP/1.1 request by node:http. Rejects when the connection broke. */
export async function request(to: CapturedPort, path: string, init: RequestInit = {}): Promise<Answer> {
  const outgoing = http.request({
    host: to.host,
    port: to.port,
    path,
    method: init.method ?? "GET",
    agent: init.agent ?? false,
    headers: { host: "web", ...init.headers },
  });
  // After the response's head, errors are the response's to report.
  outgoing.on("error", () => {});
  outgoing.end(init.body);
  const [response] = (await once(outgoing, "response")) as [http.IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    trailers: response.trailers,
    body: Buffer.concat(chunks).toString("latin1"),
  };
}

/** A connection whose bytes the test writes and reads itself. */
export interface RawConnection {
  readonly socket: net.Socket;
  send(bytes: string | Uint8Array): void;
  /** Everything received so far. */
  readonly received: string;
  /** Resolves with what was received once it holds `text`; rejects when the connection closed without it. */
  until(text: string): Promise<string>;
  /** Resolves with what was received once the other side ended, and ends this one. */
  ended(): Promise<string>;
}

export async function rawConnection(to: CapturedPort): Promise<RawConnection> {
  const socket = await to.connect();
  let received = "";
  let over = false;
  const watchers = new Set<() => void>();
  const changed = (): void => {
    for (const watcher of watchers) watcher();
  };
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    received += chunk;
    changed();
  });
  for (const event of ["end", "close"])
    socket.on(event, () => {
      over = true;
      changed();
    });
  const wait = async (done: () => boolean): Promise<string> =>
    await new Promise<string>((resolve, reject) => {
      const watcher = (): void => {
        if (!done() && !over) return;
        watchers.delete(watcher);
        if (done()) resolve(received);
        else reject(new Error(`the connection ended after ${JSON.stringify(received)}`));
      };
      watchers.add(watcher);
      watcher();
    });
  return {
    socket,
    send: (bytes) => void socket.write(bytes, "latin1"),
    get received() {
      return received;
    },
    until: async (text) => await wait(() => received.includes(text)),
    async ended() {
      const all = await wait(() => over);
      socket.end();
      return all;
    },
  };
}
