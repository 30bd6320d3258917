import { SessionMetrics } from "@hairpin/hbone";
import { MetricRegistry } from "@hairpin/shared/telemetry";
import { aWorkload, createChannelPair, eventually, ManualClock } from "@hairpin/testkit";
import { headerList, type ByteChannel } from "@hairpin/wire";
import { describe, expect, it } from "vitest";
import type { HttpStream } from "../http/http-stream.ts";
import type { Endpoint } from "./connect-endpoint.ts";
import { HttpUpstreams } from "./http-upstreams.ts";

const endpoint: Endpoint = {
  workload: aWorkload(),
  ip: "10.0.0.7",
  port: 8080,
  identities: [],
  service: undefined,
  hairpinned: false,
};
const get = headerList({ ":method": "GET", ":scheme": "http", ":authority": "web", ":path": "/" });

/** Connections to an application in memory that answers whatever comes. */
function openUpstreams() {
  const clock = new ManualClock();
  let connections = 0;
  const connect = (): Promise<ByteChannel> => {
    connections++;
    const [application, ours] = createChannelPair();
    application.setHandler({
      onData: () => void application.write(Buffer.from("HTTP/1.1 204 No Content\r\n\r\n")),
      onEnd: () => application.end(),
      onDrain: () => {},
      onClose: () => {},
    });
    application.resume();
    return Promise.resolve(ours);
  };
  const upstreams = new HttpUpstreams({ clock, connect, metrics: new SessionMetrics(new MetricRegistry()) });
  return { upstreams, clock, connections: () => connections };
}

async function answered(stream: HttpStream): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.setHandler({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => resolve() });
  stream.resume();
  await promise;
}

describe("HttpUpstreams", () => {
  it("sends a request at once when a connection is idle, and not otherwise", async () => {
    const { upstreams, connections } = openUpstreams();
    expect(upstreams.requestNow(endpoint, "http1", get, true)).toBeUndefined();
    await answered(await upstreams.request(endpoint, "http1", get, true));
    const second = upstreams.requestNow(endpoint, "http1", get, true);
    expect(second).toBeDefined();
    expect(upstreams.requestNow(endpoint, "http1", get, true)).toBeUndefined();
    if (second) await answered(second);
    expect(connections()).toBe(1);
    upstreams.destroy();
  });

  it("closes connections that nobody used for 4 s, not those used since", async () => {
    const { upstreams, clock } = openUpstreams();
    const both = await Promise.all([0, 1].map(() => upstreams.request(endpoint, "http1", get, true)));
    await Promise.all(both.map(answered));
    expect(upstreams.size).toBe(2);
    await clock.advance(3000);
    await answered(await upstreams.request(endpoint, "http1", get, true));
    await clock.advance(1500);
    await eventually(() => expect(upstreams.size).toBe(1));
    expect(upstreams.requestNow(endpoint, "http1", get, true)).toBeDefined();
    upstreams.destroy();
  });
});
