import { expect, it } from "vitest";
import type { ByteChannel } from "@hairpin/wire";
import { ChannelProbe } from "./channel-probe.ts";
import type {
  MakeTunnelPair,
  TunnelFeature,
  TunnelPair,
  TunnelPairOptions,
  TunnelSide,
  TunnelTraits,
} from "./tunnel-pair.ts";

export type ProbedEnds = Readonly<Record<TunnelSide, ChannelProbe>>;

/** The two directions of a tunnel, for `it.each`. */
export const directions: readonly { readonly from: TunnelSide; readonly to: TunnelSide }[] = [
  { from: "dialled", to: "accepted" },
  { from: "accepted", to: "dialled" },
];

/** `it` for a case that needs the feature; `it.skip` for an implementation without it. */
export function caseFor(traits: TunnelTraits, feature: TunnelFeature): typeof it {
  return traits.without?.[feature] === undefined ? it : (it.skip as typeof it);
}

/** Makes the pairs of a case and closes them after it; every channel that a case opened must have kept its promises. */
export class TunnelFixture {
  readonly #make: MakeTunnelPair;
  #pairs: TunnelPair[] = [];
  #probes: ChannelProbe[] = [];

  constructor(make: MakeTunnelPair) {
    this.#make = make;
  }

  async makePair(options?: TunnelPairOptions): Promise<TunnelPair> {
    const pair = await this.#make(options);
    this.#pairs.push(pair);
    return pair;
  }

  probe(channel: ByteChannel, options?: { readonly paused?: boolean }): ChannelProbe {
    const probe = new ChannelProbe(channel, options);
    this.#probes.push(probe);
    return probe;
  }

  /** Opens a tunnel and owns both ends; the end named by `paused` does not read. */
  async open(pair: TunnelPair, paused?: TunnelSide): Promise<ProbedEnds> {
    const ends = await pair.open();
    return {
      dialled: this.probe(ends.dialled, { paused: paused === "dialled" }),
      accepted: this.probe(ends.accepted, { paused: paused === "accepted" }),
    };
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs.splice(0)) await pair[Symbol.asyncDispose]();
    expect(this.#probes.splice(0).flatMap(({ faults }) => faults)).toEqual([]);
  }
}
