import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import { ChannelProbe } from "./channel-probe.ts";
import type { MakeTunnelPair, TunnelEnds, TunnelPair } from "./tunnel-pair.ts";

/**
 * The same pair, on whose session `neighbours` other tunnels are busy all the time. What a case does to its own tunnel must not hurt
 * them: at the disposal each must have lost nothing, unless the case broke the transport.
 */
export function withBusyNeighbours(make: MakeTunnelPair, neighbours: number): MakeTunnelPair {
  return async (options) => {
    const pair = await make(options);
    const busy: PingPong[] = [];
    for (let i = 0; i < neighbours; i++) busy.push(new PingPong(await pair.open()));
    let broken = false;
    const transport = {
      get carriedBytes() {
        return pair.transport.carriedBytes;
      },
      get connections() {
        return pair.transport.connections;
      },
      cut: (how: "end" | "reset") => {
        broken = true;
        pair.transport.cut(how);
      },
      freeze: () => {
        broken = true;
        pair.transport.freeze();
      },
    };
    return {
      ...pair,
      transport,
      async [Symbol.asyncDispose]() {
        if (!broken) for (const neighbour of busy) await neighbour.finish();
        await pair[Symbol.asyncDispose]();
      },
    } satisfies TunnelPair;
  };
}

/** One message goes to and fro, until it is told to finish. */
class PingPong {
  readonly #ends: readonly [ChannelProbe, ChannelProbe];
  readonly #message = randomBytes(1500);
  #sent = 0;
  #finishing = false;

  constructor({ dialled, accepted }: TunnelEnds) {
    this.#ends = [new ChannelProbe(dialled), new ChannelProbe(accepted)];
    const [left, right] = this.#ends;
    right.onChunk = () => this.#answer(right, left);
    left.onChunk = () => this.#answer(left, right);
    this.#send(left);
  }

  async finish(): Promise<void> {
    this.#finishing = true;
    const [left, right] = this.#ends;
    await Promise.all([left.whenEnded, right.whenEnded]);
    expect(left.receivedBytes + right.receivedBytes).toBe(this.#sent);
    expect([...left.faults, ...right.faults]).toEqual([]);
  }

  /** Answers a whole message with one; in the end with the end. */
  #answer(from: ChannelProbe, to: ChannelProbe): void {
    if (from.receivedBytes + to.receivedBytes < this.#sent) return;
    if (!this.#finishing) {
      this.#send(from);
      return;
    }
    from.channel.end();
    to.channel.end();
  }

  #send(from: ChannelProbe): void {
    this.#sent += this.#message.length;
    from.channel.write(this.#message);
  }
}
