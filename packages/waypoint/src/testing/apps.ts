// Applications in pods: Node's own servers, so that the other end of the waypoint's HTTP shares no code with it.
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";

/** A request as an application saw it. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  readonly headers: http.IncomingHttpHeaders;
  /** Names and values as they came. */
  readonly rawHeaders: readonly string[];
}

export interface TestApp extends AsyncDisposable {
  readonly name: string;
  readonly port: number;
  readonly requests: readonly SeenRequest[];
  /** Connections accepted so far, and those open now. */
  readonly accepted: number;
  readonly sockets: ReadonlySet<net.Socket>;
}

export interface AppPlace {
  readonly name: string;
  readonly ip: string;
  /** Default 8080. */
  readonly port?: number;
}

/** An HTTP/1.1 application; by default it answers with its name. */
export async function startHttpApp(
  place: AppPlace,
  handler: http.RequestListener = (_, response) => response.end(place.name),
): Promise<TestApp> {
  const requests: SeenRequest[] = [];
  const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    requests.push(seen(request));
    response.on("error", () => {});
    request.on("error", () => {});
    handler(request, response);
  });
  // `Expect: 100-continue` is the handler's to answer, as in an application that looks first.
  server.on("checkContinue", (request: http.IncomingMessage, response: http.ServerResponse) => {
    requests.push(seen(request));
    handler(request, response);
  });
  server.on("upgrade", (request, socket) => {
    requests.push(seen(request));
    socket.on("error", () => {});
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nx-app: up\r\n\r\nhello",
    );
    socket.on("data", (chunk: Buffer) => socket.write(chunk.toString().toUpperCase()));
    socket.on("end", () => socket.end("bye"));
  });
  return await serve(server, place, requests);
}

/** An HTTP/2 application with prior knowledge. */
export async function startHttp2App(
  place: AppPlace,
  handler: (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void = (_, response) =>
    void response.end(place.name),
): Promise<TestApp> {
  const requests: SeenRequest[] = [];
  const server = http2.createServer((request, response) => {
    const { method, url, httpVersion, headers, rawHeaders } = request;
    requests.push({ method, url, httpVersion, headers, rawHeaders });
    request.on("error", () => {});
    response.on("error", () => {});
    handler(request, response);
  });
  server.on("sessionError", () => {});
  return await serve(server, place, requests);
}

/** An application of another protocol. */
export async function startTcpApp(place: AppPlace, handler: (socket: net.Socket) => void): Promise<TestApp> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on("error", () => {});
    handler(socket);
  });
  return await serve(server, place, []);
}

async function serve(server: net.Server, place: AppPlace, requests: readonly SeenRequest[]): Promise<TestApp> {
  const sockets = new Set<net.Socket>();
  let accepted = 0;
  server.on("connection", (socket) => {
    accepted++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(place.port ?? 8080, place.ip);
  await once(server, "listening");
  return {
    name: place.name,
    port: place.port ?? 8080,
    requests,
    get accepted() {
      return accepted;
    },
    sockets,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function seen(request: http.IncomingMessage): SeenRequest {
  const { method = "", url = "", httpVersion, headers, rawHeaders } = request;
  return { method, url, httpVersion, headers, rawHeaders };
}
