import { afterEach, describe, it } from "vitest";
import { backpressureCases } from "./backpressure-cases.ts";
import { endingCases } from "./ending-cases.ts";
import { TunnelFixture } from "./fixture.ts";
import { sessionCases } from "./session-cases.ts";
import { transferCases } from "./transfer-cases.ts";
import type { MakeTunnelPair, TunnelTraits } from "./tunnel-pair.ts";

const defaultTransferBytes = 4 * 1024 * 1024;

/** The compliance suite: the same cases for every implementation of a tunnel, and for foreign ones at either end of ours. */
export function describeTunnelCompliance(name: string, makePair: MakeTunnelPair, traits: TunnelTraits): void {
  describe(`a tunnel over ${name}`, { timeout: 30_000 }, () => {
    const fixture = new TunnelFixture(makePair);
    const volume = traits.transferBytes ?? defaultTransferBytes;
    afterEach(() => fixture.close());
    for (const [feature, reason] of Object.entries(traits.without ?? {})) it.skip(`has no ${feature}: ${reason}`);
    transferCases(fixture, volume);
    endingCases(fixture, traits, volume);
    backpressureCases(fixture, traits, volume);
    sessionCases(fixture, traits, volume);
  });
}

/** Lists the implementation as skipped, with the reason, where its program is not installed. */
export function skipTunnelCompliance(name: string, reason: string): void {
  describe(`a tunnel over ${name}`, () => {
    it.skip(`is not tested: ${reason}`);
  });
}
