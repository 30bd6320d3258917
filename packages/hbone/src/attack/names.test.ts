// I2, I4: what a certificate says about who its holder is. Each is signed by the mesh's own root: a CA may be misled.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectHostileTls, eventually, startHostileServer } from "@hairpin/testkit";
import { formatSpiffeId } from "@hairpin/shared/model";
import { settingsFrame } from "@hairpin/wire/test-support/frames";
import { uriSans } from "@hairpin/wire/test-support/certificates";
import { HboneError } from "../errors.ts";
import { AttackBed, client, server, targetOf } from "./test-support/bed.ts";
import { engines } from "./test-support/engines.ts";
import { leafOf, makeCertificate, materialOf } from "./test-support/hostile-certificates.ts";
import { type NameCase, nameCases } from "./test-support/hostile-names.ts";

const request = { authority: "10.0.0.1:80", headers: [] };
const refusedTotal = "hairpin_hbone_peers_refused_total";
const serverUri = formatSpiffeId(server);
const byReason = Object.entries(nameCases).map(([reason, cases]) => ({ reason, cases, count: cases.length }));
const materialFor = ({ extensions }: NameCase) => materialOf(makeCertificate({ extensions }));

it("There are at least 200 names to refuse", () => {
  expect(byReason.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThanOrEqual(200);
});

describe.each(engines)("names over $name", (engine) => {
  let bed: AttackBed;
  beforeAll(async () => {
    bed = await AttackBed.start(engine, {
      material: leafOf(serverUri),
      dialerMaterial: leafOf(formatSpiffeId(client)),
    });
  });
  afterAll(() => bed[Symbol.asyncDispose]());

  it.each(byReason)(
    "I2: a listener refuses each of $count clients for $reason",
    { timeout: 60_000 },
    async ({ reason, cases }) => {
      const neighbour = await bed.neighbour();
      const sessions = bed.sessions.length;
      const wrong: unknown[] = [];
      for (const [i, hostile] of cases.entries()) {
        const before = bed.refusals.length;
        const socket = await connectHostileTls(bed.address, materialFor(hostile)).catch(() => undefined);
        await eventually(() => expect(bed.refusals.length + bed.sessions.length - sessions).toBeGreaterThan(before), {
          intervalMs: 1,
        });
        const refusal = bed.refusals[before];
        if (!(refusal instanceof HboneError) || refusal.details["reason"] !== reason)
          wrong.push([i, hostile.name, refusal]);
        socket?.destroy();
      }
      expect(wrong).toEqual([]);
      expect(bed.sessions.length).toBe(sessions);
      expect(await bed.count(refusedTotal, { side: "downstream", reason })).toBe(cases.length);
      await neighbour.nextCall();
      await neighbour.stop();
      expect(neighbour.failures).toEqual([]);
    },
  );

  it.each(byReason)(
    "I2: a dialer refuses each of $count servers for $reason",
    { timeout: 60_000 },
    async ({ reason, cases }) => {
      const expected = reason === "trust-domain" ? "unexpected-name" : reason;
      const neighbour = await bed.neighbour();
      const before = await bed.count(refusedTotal, { side: "upstream", reason: expected });
      const wrong: unknown[] = [];
      for (const hostile of cases) {
        await using place = await startHostileServer(materialFor(hostile), (peer) => peer.send(settingsFrame()));
        const error: unknown = await bed.dialer
          .dial(targetOf(place.address), request)
          .catch((reasonOf: unknown) => reasonOf);
        if (!(error instanceof HboneError) || error.details["reason"] !== expected) wrong.push([hostile.name, error]);
        if (place.peers.some(({ heads }) => heads.size > 0)) wrong.push([hostile.name, "was asked for a tunnel"]);
      }
      expect(wrong).toEqual([]);
      expect((await bed.count(refusedTotal, { side: "upstream", reason: expected })) - before).toBe(cases.length);
      await neighbour.nextCall();
      await neighbour.stop();
      expect(neighbour.failures).toEqual([]);
    },
  );

  it.each([
    "spiffe://cluster.local/ns/good/sa/serve",
    "spiffe://cluster.local/ns/good/sa/server2",
    "spiffe://cluster.local/ns/goo/sa/server",
    "spiffe://cluster.local/ns/good/sa/client",
    "spiffe://cluster.local/ns/server/sa/good",
    "spiffe://cluster.local/ns/good.sa/sa/server",
    "spiffe://other.example/ns/good/sa/server",
  ])("I4: a dialer that expects another refuses %s", async (name) => {
    await using place = await startHostileServer(leafOf(name), (peer) => peer.send(settingsFrame()));
    const dial = bed.dialer.dial(targetOf(place.address), request);
    await expect(dial).rejects.toMatchObject({
      code: "HBONE_PEER_IDENTITY",
      message: expect.stringContaining(`got ${name}`),
      details: { reason: "unexpected-name" },
    });
    expect(place.peers.every(({ heads }) => heads.size === 0)).toBe(true);
  });

  it("I4: no identity is expected: none is accepted", async () => {
    await expect(bed.dialer.dial(targetOf(bed.address, []), request)).rejects.toMatchObject({
      code: "HBONE_PEER_IDENTITY",
    });
  });

  it.each([
    "spiffe://cluster.local/ns/a/sa/b",
    "spiffe://cluster.local/ns/1/sa/2",
    "spiffe://cluster.local/ns/kube-system/sa/a.b-c.d",
    `spiffe://cluster.local/ns/${"n".repeat(63)}/sa/${"s".repeat(253)}`,
  ])("accepts the honest name %s, beside names of other kinds", async (name) => {
    const material = [leafOf(name), leafOf(name, { extensions: [uriSans(name)], name: "x" })];
    const sockets = material.map((one) => connectHostileTls(bed.address, one));
    const seen = () => bed.sessions.filter(({ peerIdentity }) => formatSpiffeId(peerIdentity) === name);
    await eventually(() => expect(seen().length).toBeGreaterThanOrEqual(sockets.length));
    for (const socket of sockets) (await socket).destroy();
  });
});
