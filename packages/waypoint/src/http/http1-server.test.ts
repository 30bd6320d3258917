import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createChannelPair, eventually, ManualClock } from "@hairpin/testkit";
import type { ByteChannel, HeaderList, Http2StreamHandler } from "@hairpin/wire";
import { Http1Server, type Http1ServerOptions } from "./http1-server.ts";
import type { HttpStream } from "./http-stream.ts";

interface Incoming {
  readonly stream: HttpStream;
  readonly headers: HeaderList;
  body: string;
  ended: boolean;
  closed: Error | undefined | "open";
}

/** A server in memory whose requests the test answers itself. */
function serve(options: Http1ServerOptions = {}, chunking?: (available: number) => number) {
  const [client, channel] = createChannelPair(chunking ? { chunking } : {});
  const clock = new ManualClock();
  const requests: Incoming[] = [];
  const bad: string[] = [];
  const state = { received: "", ended: false, closed: false };
  const server = new Http1Server(
    channel,
    {
      clock,
      handler: {
        onStream: (stream, headers) => {
          const incoming: Incoming = { stream, headers, body: "", ended: false, closed: "open" };
          requests.push(incoming);
          stream.setHandler(record(incoming));
        },
        onBadRequest: (error, status) => bad.push(`${status} ${error.message}`),
        onClose: () => (state.closed = true),
      },
    },
    options,
  );
  client.setHandler({
    onData: (chunk) => (state.received += Buffer.from(chunk).toString("latin1")),
    onEnd: () => (state.ended = true),
    onDrain: () => {},
    onClose: () => {},
  });
  client.resume();
  return { server, client, clock, requests, bad, state };
}

function record(incoming: Incoming): Http2StreamHandler {
  return {
    onData: (chunk) => (incoming.body += Buffer.from(chunk).toString("latin1")),
    onEnd: () => (incoming.ended = true),
    onDrain: () => {},
    onClose: (error) => (incoming.closed = error),
  };
}

const send = (client: ByteChannel, text: string): boolean => client.write(Buffer.from(text, "latin1"));
const answer = ({ stream }: Incoming, body: string): void => {
  stream.respond([
    { name: ":status", value: "200" },
    { name: "content-length", value: String(body.length) },
  ]);
  stream.write(Buffer.from(body));
  stream.end();
};
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: web\r\n\r\n`;

describe("Http1Server", () => {
  it("gives the same requests however the bytes are split, and however slowly they are taken", async () => {
    const bodies = fc.array(fc.stringMatching(/^[a-z]{0,40}$/), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(bodies, fc.boolean(), fc.integer({ min: 1, max: 60 }), async (texts, chunked, step) => {
        const { client, requests, state } = serve({}, () => step);
        const messages = texts.map((text, i) => {
          const frame = chunked
            ? `transfer-encoding: chunked\r\n\r\n${text === "" ? "" : `${text.length.toString(16)}\r\n${text}\r\n`}0\r\n\r\n`
            : `content-length: ${text.length}\r\n\r\n${text}`;
          return `POST /${i} HTTP/1.1\r\nhost: web\r\n${frame}`;
        });
        send(client, messages.join(""));
        for (const [i, text] of texts.entries()) {
          await eventually(() => expect(requests).toHaveLength(i + 1), { intervalMs: 0 });
          const incoming = requests[i];
          if (!incoming) throw new Error("no request");
          incoming.stream.resume();
          await eventually(() => expect(incoming.ended).toBe(true), { intervalMs: 0 });
          expect(incoming.body).toBe(text);
          answer(incoming, text);
          await eventually(() => expect(incoming.closed).toBeUndefined(), { intervalMs: 0 });
        }
        await eventually(() => expect(state.received.match(/HTTP\/1.1 200 OK/g)).toHaveLength(texts.length));
      }),
      { numRuns: 30 },
    );
  });

  it("holds the body of a paused request unspoiled, and stops reading", async () => {
    const { client, requests } = serve({}, () => 7);
    send(client, `POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz${get("/next")}`);
    await eventually(() => expect(requests).toHaveLength(1));
    const [incoming] = requests;
    if (!incoming) throw new Error("no request");
    // The channel reuses its memory after each delivery (it is overwritten there).
    await eventually(() => expect(client.bufferedBytes).toBeGreaterThan(0));
    incoming.stream.resume();
    await eventually(() => expect(incoming.body).toBe("abcdefghijklmnopqrstuvwxyz"));
    answer(incoming, "ok");
    await eventually(() => expect(requests).toHaveLength(2));
  });

  it("answers 408 when a head does not come to its end, and 400 is not counted twice", async () => {
    const { client, clock, bad, state } = serve({ headTimeoutMs: 1000 });
    send(client, "GET / HTTP/1.1\r\nhost");
    await eventually(() => expect(clock.nextTimerMs).toBe(1000));
    await clock.advance(999);
    expect(state.received).toBe("");
    await clock.advance(1);
    await eventually(() => expect(state.received).toMatch(/^HTTP\/1.1 408 /));
    expect(bad).toEqual(["408 The head did not come in time"]);
    await eventually(() => expect(state.ended).toBe(true));
  });

  it("gives a head that came in time no timer, and the next one its own", async () => {
    const { client, clock, requests } = serve({ headTimeoutMs: 1000, idleTimeoutMs: 5000 });
    send(client, "GET / HTTP/1.1\r\nho");
    await eventually(() => expect(clock.nextTimerMs).toBe(1000));
    send(client, "st: web\r\n\r\n");
    await eventually(() => expect(requests).toHaveLength(1));
    await clock.advance(2000);
    const [incoming] = requests;
    if (incoming) answer(incoming, "late");
    send(client, "GET");
    await eventually(() => expect(clock.nextTimerMs).toBe(1000));
  });

  it("closes a connection that is idle for long, not one whose request takes long", async () => {
    const { client, clock, requests, state } = serve({ idleTimeoutMs: 1000 });
    send(client, get("/"));
    await eventually(() => expect(requests).toHaveLength(1));
    await clock.advance(5000);
    expect(state.ended).toBe(false);
    const [incoming] = requests;
    if (incoming) answer(incoming, "ok");
    await clock.advance(900);
    expect(state.ended).toBe(false);
    await clock.advance(1100);
    await eventually(() => expect(state.ended).toBe(true));
  });

  it("does not wait for ever for a client that does not close, nor read what it still sends for ever", async () => {
    const first = serve({ lingerMs: 1000 });
    send(first.client, "bad\r\n\r\n");
    await eventually(() => expect(first.state.ended).toBe(true));
    expect(first.state.closed).toBe(false);
    await first.clock.advance(1000);
    await eventually(() => expect(first.state.closed).toBe(true));
    const second = serve({ lingerMs: 1000 });
    send(second.client, `bad\r\n\r\n${"x".repeat(300 * 1024)}`);
    await eventually(() => expect(second.state.ended).toBe(true));
    send(second.client, "x".repeat(300 * 1024));
    await eventually(() => expect(second.state.closed).toBe(true));
  });

  it("tells the request's owner when the connection breaks, once, also after the answer began", async () => {
    const { client, requests } = serve();
    send(client, get("/"));
    await eventually(() => expect(requests).toHaveLength(1));
    const [incoming] = requests;
    incoming?.stream.respond([{ name: ":status", value: "200" }]);
    client.destroy();
    await eventually(() => expect(incoming?.closed).toBeInstanceOf(Error));
    // Late calls of the owner are harmless.
    incoming?.stream.write(Buffer.from("x"));
    incoming?.stream.end();
    incoming?.stream.reset(0);
    incoming?.stream.sendTrailers([]);
  });

  it("breaks the connection when a response is not as long as it said", async () => {
    const { client, requests, state } = serve();
    send(client, get("/"));
    await eventually(() => expect(requests).toHaveLength(1));
    const [incoming] = requests;
    incoming?.stream.respond([
      { name: ":status", value: "200" },
      { name: "content-length", value: "5" },
    ]);
    incoming?.stream.write(Buffer.from("abc"));
    incoming?.stream.end();
    await eventually(() => expect(state.closed).toBe(true));
    expect(incoming?.closed).toBeInstanceOf(Error);
  });

  it.each([0, 1])("drains: the next request after %i is answered, as the last", async (before) => {
    const { client, clock, requests, server, state } = serve({ drainIdleMs: 5000 });
    const exchange = async (): Promise<void> => {
      const count = requests.length;
      send(client, get("/"));
      await eventually(() => expect(requests).toHaveLength(count + 1));
      const incoming = requests.at(-1);
      if (incoming) answer(incoming, `answer ${count}`);
      await eventually(() => expect(state.received).toMatch(new RegExp(`answer ${count}$`)));
    };
    for (let index = 0; index < before; index++) await exchange();
    server.shutdown();
    await clock.advance(4999);
    expect(state.ended).toBe(false);
    expect(state.received).not.toContain("connection: close");
    await exchange();
    expect(state.received).toContain("connection: close\r\n");
    await eventually(() => expect(state.ended).toBe(true));
  });

  it("drains: a connection that is silent for long closes", async () => {
    const { client, clock, requests, server, state } = serve({ drainIdleMs: 5000 });
    send(client, get("/"));
    await eventually(() => expect(requests).toHaveLength(1));
    if (requests[0]) answer(requests[0], "ok");
    await eventually(() => expect(state.received).toMatch(/ok$/));
    server.shutdown();
    expect(state.ended).toBe(false);
    await clock.advance(5000);
    await eventually(() => expect(state.ended).toBe(true));
  });
});
