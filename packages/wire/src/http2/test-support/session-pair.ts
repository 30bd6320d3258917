import type { HeaderList } from "../header-field.ts";
import type { Http2Options } from "../options.ts";
import { createHttp2Session } from "../session.ts";
import type { Http2Session, Http2SessionHandler, Http2Stream, Http2StreamHandler } from "../types.ts";
import { type ChannelPairOptions, createChannelPair } from "./channel-pair.ts";

/** Two sessions of ours over memory, and how they closed. */
export interface SessionPair {
  readonly client: Http2Session;
  readonly server: Http2Session;
  readonly clientClosed: Promise<Error | undefined>;
  readonly serverClosed: Promise<Error | undefined>;
}

export function createSessionPair(setup: {
  readonly client?: Http2Options;
  readonly server?: Http2Options;
  readonly channel?: ChannelPairOptions;
  readonly clientHandler?: Partial<Http2SessionHandler>;
  readonly onStream: (stream: Http2Stream, headers: HeaderList, endStream: boolean) => void;
}): SessionPair {
  const [left, right] = createChannelPair(setup.channel);
  const clientEnd = Promise.withResolvers<Error | undefined>();
  const serverEnd = Promise.withResolvers<Error | undefined>();
  const server = createHttp2Session({
    role: "server",
    channel: right,
    handler: { onStream: setup.onStream, onClose: serverEnd.resolve },
    options: { lingerMs: 200, ...setup.server },
  });
  const client = createHttp2Session({
    role: "client",
    channel: left,
    handler: { ...setup.clientHandler, onClose: clientEnd.resolve },
    options: { lingerMs: 200, ...setup.client },
  });
  return { client, server, clientClosed: clientEnd.promise, serverClosed: serverEnd.promise };
}

/** What a stream received until it closed. */
export interface Exchange {
  headers: HeaderList | undefined;
  informational: HeaderList[];
  trailers: HeaderList | undefined;
  body: Buffer;
  ended: boolean;
  error: Error | undefined;
}

/** Collects everything; `onDrain` is for the writer. Resumes the stream. */
export function collect(stream: Http2Stream, onDrain: () => void = () => {}): Promise<Exchange> {
  const { promise, resolve } = Promise.withResolvers<Exchange>();
  const chunks: Buffer[] = [];
  const exchange: Exchange = {
    headers: stream.headers,
    informational: [],
    trailers: undefined,
    body: Buffer.alloc(0),
    ended: false,
    error: undefined,
  };
  const handler: Http2StreamHandler = {
    onInformational: (headers) => exchange.informational.push(headers),
    onHeaders: (headers) => (exchange.headers = headers),
    onData: (chunk) => chunks.push(Buffer.from(chunk)),
    onTrailers: (headers) => (exchange.trailers = headers),
    onEnd: () => (exchange.ended = true),
    onDrain,
    onClose: (error) => {
      exchange.error = error;
      exchange.body = Buffer.concat(chunks);
      resolve(exchange);
    },
  };
  stream.setHandler(handler);
  stream.resume();
  return promise;
}

/** Writes `body` in pieces as fast as the stream takes them, then calls `finish`. Returns what to call on drain. */
export function pour(stream: Http2Stream, body: Buffer, finish: () => void, piece = 50_000): () => void {
  let at = 0;
  let finished = false;
  const go = (): void => {
    while (at < body.length) {
      const end = Math.min(body.length, at + piece);
      const chunk = Buffer.from(body.subarray(at, end));
      at = end;
      const more = stream.write(chunk);
      // The chunk was borrowed: reusing it at once must hurt nobody.
      chunk.fill(0xdd);
      if (!more) return;
    }
    if (!finished) finish();
    finished = true;
  };
  return go;
}
