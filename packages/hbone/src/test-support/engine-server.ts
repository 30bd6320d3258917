import { createHash } from "node:crypto";
import {
  createHttp2Session,
  createSocketChannel,
  findHeader,
  headerList,
  type Http2Stream,
  listenTcp,
} from "@hairpin/wire";

export interface EngineServer extends AsyncDisposable {
  readonly port: number;
  /** Sessions accepted so far. */
  readonly sessions: number;
}

/** Our HTTP/2 engine as a plain server without TLS: GET answers `body`, anything else the SHA-256 of what it was sent. */
export async function startEngineServer(body: Uint8Array): Promise<EngineServer> {
  let sessions = 0;
  const listener = await listenTcp({
    host: "127.0.0.1",
    port: 0,
    onConnection: (socket) => {
      sessions++;
      createHttp2Session({
        role: "server",
        channel: createSocketChannel(socket),
        handler: {
          onStream: (stream, headers) => {
            if (findHeader(headers, ":method") === "GET") answer(stream, body);
            else answerHash(stream);
          },
          onClose: () => {},
        },
      });
    },
  });
  return {
    port: listener.address.port,
    get sessions() {
      return sessions;
    },
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

function answer(stream: Http2Stream, body: Uint8Array): void {
  const ignore = (): void => {};
  stream.setHandler({ onData: ignore, onEnd: ignore, onDrain: ignore, onClose: ignore });
  stream.resume();
  stream.respond(headerList({ ":status": "200", "content-length": String(body.length) }));
  stream.write(body);
  stream.end();
}

function answerHash(stream: Http2Stream): void {
  const hash = createHash("sha256");
  stream.setHandler({
    onData: (chunk) => void hash.update(chunk),
    onEnd: () => {
      stream.respond(headerList({ ":status": "200" }));
      stream.write(Buffer.from(hash.digest("hex")));
      stream.end();
    },
    onDrain: () => {},
    onClose: () => {},
  });
  stream.resume();
}
