import { randomInt } from "node:crypto";
import { createMemoryTransport, describeTunnelCompliance } from "@hairpin/testkit/tunnel-compliance";
import type { Http2Options } from "@hairpin/wire";
import { hboneTraits, makeHbonePair } from "./test-support/hbone-proxy.ts";

const kib = 1024;

/** Small enough that windows and queues fill up often, and that a byte at a time stays quick. */
const http2: Http2Options = {
  initialWindowSize: 64 * kib,
  connectionWindowSize: 512 * kib,
  maxFrameSize: 16 * kib,
  maxSendBufferBytes: 32 * kib,
};

const cuts = [
  { name: "one byte at a time", chunking: () => 1, transferBytes: 64 * kib },
  {
    name: "cut at random",
    chunking: (available: number) => randomInt(1, Math.min(available, 700) + 1),
    transferBytes: 512 * kib,
  },
  { name: "cut inside every frame header", chunking: () => 7, transferBytes: 256 * kib },
  { name: "coalesced", coalesce: true, transferBytes: 1024 * kib },
];

for (const { name, transferBytes, ...cut } of cuts) {
  describeTunnelCompliance(
    `HBONE in memory, ${name}`,
    ({ clock } = {}) => makeHbonePair(createMemoryTransport(cut), { clock, http2 }),
    hboneTraits({ http2, transferBytes }),
  );
}
