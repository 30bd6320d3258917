import { describe, expect, it, onTestFinished } from "vitest";
import type { TlsEngine } from "../engine.ts";
import { HandshakePacer } from "../handshake-pacer.ts";
import { timeoutMs, TlsFixture } from "./tls-fixture.ts";

/** What every engine does when many handshakes come at once. */
export function describePacing(createEngine: (pacer: HandshakePacer) => TlsEngine): void {
  const { name } = createEngine(new HandshakePacer());

  function fixtureOf(pacer: HandshakePacer): TlsFixture {
    const fixture = new TlsFixture({ client: createEngine(new HandshakePacer()), server: createEngine(pacer) });
    onTestFinished(() => fixture.cleanUp());
    return fixture;
  }

  describe(`${name}: many handshakes at once`, () => {
    it("wait for their turn and succeed", async () => {
      const pacer = new HandshakePacer({ stepsPerTurn: 1 });
      const fixture = fixtureOf(pacer);
      const sockets = await Promise.all(Array.from({ length: 30 }, () => fixture.socketPair()));
      const pairs = await Promise.all(sockets.map((pair) => fixture.secure(pair)));
      expect(pairs).toHaveLength(30);
      expect(pacer.stats.delayed).toBeGreaterThan(0);
      expect(pacer.stats).toMatchObject({ queued: 0, refused: 0 });
    });

    it("are refused where there is no room, and the others are served", async () => {
      const pacer = new HandshakePacer({ stepsPerTurn: 1, maxQueued: 2 });
      const fixture = fixtureOf(pacer);
      const sockets = await Promise.all(Array.from({ length: 30 }, () => fixture.socketPair()));
      for (const [client] of sockets)
        fixture.engines.client.connect(client, fixture.clientContext, { timeoutMs }).catch(() => undefined);
      const outcomes = await Promise.allSettled(
        sockets.map(([, server]) => fixture.engines.server.accept(server, fixture.serverContext, { timeoutMs })),
      );
      const refused = outcomes.filter((outcome) => outcome.status === "rejected");
      expect(refused.length).toBeGreaterThan(0);
      expect(refused.length).toBeLessThan(30);
      for (const { reason } of refused) expect(reason).toMatchObject({ code: "TLS_HANDSHAKE_QUEUE_FULL" });
      expect(pacer.stats.refused).toBe(refused.length);
      expect(sockets.filter(([, server]) => server.destroyed)).toHaveLength(refused.length);
    });
  });
}
