// H10: connections that end in the middle of everything leave nothing behind. ATTACK_CONNECTIONS makes the long form (100000).
import { describe, expect, it } from "vitest";
import { connectHostileClient, eventually } from "@hairpin/testkit";
import { Flag, FrameType, headersFrame, rawFrame, uint32 } from "@hairpin/wire/test-support/frames";
import { AttackBed, attacker, authority, heldBytes } from "./test-support/bed.ts";
import { engines } from "./test-support/engines.ts";
import { connectTo, END_HEADERS } from "./test-support/frame-attacks.ts";

const MIB = 1024 * 1024;
const connections = Number(process.env["ATTACK_CONNECTIONS"] ?? 120);
const open = headersFrame(1, connectTo("10.0.0.1:80"), END_HEADERS);
const data = rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(16_384));
const goaway = rawFrame(FrameType.GOAWAY, 0, 0, uint32(0, 0));

const endings: readonly (readonly [string, Uint8Array[]])[] = [
  ["a connection window that overflows", [open, rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(0x7fffffff))]],
  ["GOAWAY and then more data", [open, goaway, data, data, data]],
  ["half a frame", [open, data.subarray(0, 9000)]],
  ["half a header block", [open, headersFrame(3, connectTo("a:1"), 0)]],
  [
    "streams that are all open",
    Array.from({ length: 50 }, (_, i) => headersFrame(1 + 2 * i, connectTo("a:1"), END_HEADERS)),
  ],
  ["an end inside of a tunnel", [open, data, rawFrame(FrameType.DATA, Flag.END_STREAM, 1)]],
];

describe.each(engines)("connections over $name", (engine) => {
  it(
    "H10: leave no session, no tunnel and no memory, however they end",
    { timeout: 60_000 + connections * 100 },
    async () => {
      await using bed = await AttackBed.start(engine);
      const material = authority.material(attacker);
      const neighbour = await bed.neighbour();
      const churn = async (count: number): Promise<void> => {
        for (let i = 0; i < count; i++) {
          const [, bytes] = endings[i % endings.length]!;
          const peer = await connectHostileClient(bed.address, material);
          peer.send(...bytes);
          await new Promise((resolve) => setImmediate(resolve));
          peer.destroy();
        }
        // The first session is the neighbour's.
        await eventually(() => expect(bed.openSessions()).toBe(1), { timeoutMs: 30_000 });
      };
      // What every first connection makes is there before the measurement: pools, tables, compiled code.
      await churn(60);
      bed.forgetSessions();
      const before = heldBytes();
      await churn(connections);
      bed.forgetSessions();
      await eventually(() => expect(heldBytes() - before).toBeLessThan(8 * MIB));
      await neighbour.nextCall();
      await neighbour.stop();
      expect(neighbour.failures).toEqual([]);
    },
  );
});
