// I1, I3: certificates and TLS versions that must not open a session, shown by a client and by a server.
import { once } from "node:events";
import type { TLSSocket } from "node:tls";
import { describe, expect, it } from "vitest";
import { connectHostileTls, eventually, type HostileTlsOptions, startHostileServer } from "@hairpin/testkit";
import { formatSpiffeId } from "@hairpin/shared/model";
import { settingsFrame } from "@hairpin/wire/test-support/frames";
import { AttackBed, attacker, client, server, targetOf } from "./test-support/bed.ts";
import { engines } from "./test-support/engines.ts";
import { certificateCases, goodCertificates, leafOf } from "./test-support/hostile-certificates.ts";

const request = { authority: "10.0.0.1:80", headers: [] };
const refusedTotal = "hairpin_hbone_peers_refused_total";
const attackerUri = formatSpiffeId(attacker);
const serverUri = formatSpiffeId(server);
const honest = leafOf(formatSpiffeId(client));

async function startBed(engine: (typeof engines)[number]): Promise<AttackBed> {
  return await AttackBed.start(engine, { material: leafOf(serverUri), dialerMaterial: honest });
}

/** Connects, and waits until our side has made up its mind. */
async function show(
  bed: AttackBed,
  material: Parameters<typeof connectHostileTls>[1],
  options: HostileTlsOptions = {},
): Promise<TLSSocket | undefined> {
  const decided = bed.refusals.length + bed.sessions.length;
  const socket = await connectHostileTls(bed.address, material, options).catch(() => undefined);
  await eventually(() => expect(bed.refusals.length + bed.sessions.length).toBeGreaterThan(decided));
  return socket;
}

describe.each(engines)("a listener over $name", (engine) => {
  it.each(certificateCases)("I1: refuses a client with a certificate $name", async ({ material, reason, says }) => {
    await using bed = await startBed(engine);
    const neighbour = await bed.neighbour();
    const socket = await show(bed, material(attackerUri));
    if (socket !== undefined && !socket.closed) await new Promise((resolve) => socket.once("close", resolve));
    expect(bed.refusals).toEqual([expect.objectContaining({ message: expect.stringMatching(says) })]);
    await bed.counted(refusedTotal, { side: "downstream", reason: reason.downstream }, 1);
    expect(bed.sessions).toHaveLength(1);
    await neighbour.nextCall();
    await neighbour.stop();
    expect(neighbour.failures).toEqual([]);
  });

  it("I1: refuses a client whose certificate is for servers only", async () => {
    await using bed = await startBed(engine);
    (await show(bed, leafOf(attackerUri, { uses: [1] })))?.destroy();
    expect(bed.refusals).toEqual([expect.objectContaining({ message: expect.stringMatching(/purpose/i) })]);
    await bed.counted(refusedTotal, { side: "downstream", reason: "handshake" }, 1);
  });

  it("I1: refuses a client without a certificate", async () => {
    await using bed = await startBed(engine);
    (await show(bed, undefined))?.destroy();
    await bed.counted(refusedTotal, { side: "downstream", reason: "no-certificate" }, 1);
  });

  it.each<[string, HostileTlsOptions, string]>([
    ["TLS 1.2", { maxVersion: "TLSv1.2" }, "handshake"],
    ["TLS 1.0", { minVersion: "TLSv1", maxVersion: "TLSv1", ciphers: "ALL:@SECLEVEL=0" }, "handshake"],
    ["no ALPN", { ALPNProtocols: [] }, "no-alpn"],
    ["ALPN http/1.1", { ALPNProtocols: ["http/1.1"] }, "no-alpn"],
    ["ALPN h2 in capitals", { ALPNProtocols: ["H2"] }, "no-alpn"],
    ["ChaCha20 only", { ciphers: "TLS_CHACHA20_POLY1305_SHA256" }, "handshake"],
    ["AES-CCM only", { ciphers: "TLS_AES_128_CCM_SHA256" }, "handshake"],
  ])("I3: refuses a client with %s", async (_name, options, reason) => {
    await using bed = await startBed(engine);
    (await show(bed, leafOf(attackerUri), options))?.destroy();
    expect(bed.sessions).toHaveLength(0);
    await bed.counted(refusedTotal, { side: "downstream", reason }, 1);
  });

  it("I3: gives a client no ticket, and takes none in place of a certificate", async () => {
    await using bed = await startBed(engine);
    await using issuing = await startHostileServer(leafOf(serverUri), (peer) => peer.send(settingsFrame()));
    const own = await show(bed, leafOf(attackerUri));
    const tickets: Buffer[] = [];
    own?.on("session", (session) => tickets.push(session));
    const elsewhere = await connectHostileTls(issuing.address, leafOf(attackerUri));
    const [ticket] = (await once(elsewhere, "session")) as [Buffer];
    (await show(bed, undefined, { session: ticket }))?.destroy();
    await bed.counted(refusedTotal, { side: "downstream", reason: "no-certificate" }, 1);
    const whole = await show(bed, leafOf(attackerUri), { session: ticket });
    expect(whole?.isSessionReused()).toBe(false);
    expect(tickets).toEqual([]);
    for (const socket of [own, elsewhere, whole]) socket?.destroy();
  });

  it.each(["", "server", "evil.example", "a".repeat(63)])(
    "I3: serves the same certificate whatever name %j a client asks for",
    async (servername) => {
      await using bed = await startBed(engine);
      const socket = await show(bed, leafOf(attackerUri), { servername });
      expect(socket?.getPeerCertificate().subjectaltname).toBe(`URI:${serverUri}`);
      expect(bed.refusals).toEqual([]);
      socket?.destroy();
    },
  );

  it.each(goodCertificates)("accepts a client with a certificate $name", async ({ material }) => {
    await using bed = await startBed(engine);
    const socket = await show(bed, material(attackerUri));
    expect(bed.refusals).toEqual([]);
    expect(bed.sessions[0]?.peerIdentity).toEqual(attacker);
    socket?.destroy();
  });
});

describe.each(engines)("a dialer over $name", (engine) => {
  it.each(certificateCases)("I1: refuses a server with a certificate $name", async ({ material, reason, says }) => {
    await using bed = await startBed(engine);
    const neighbour = await bed.neighbour();
    await using hostile = await startHostileServer(material(serverUri), (peer) => peer.send(settingsFrame()));
    const dial = bed.dialer.dial(targetOf(hostile.address), request);
    await expect(dial).rejects.toThrow(says);
    await bed.counted(refusedTotal, { side: "upstream", reason: reason.upstream }, 1);
    expect(hostile.peers.map(({ heads }) => heads.size)).toEqual(hostile.peers.map(() => 0));
    expect(bed.dialer.sessions).toBe(0);
    await neighbour.nextCall();
    await neighbour.stop();
    expect(neighbour.failures).toEqual([]);
  });

  it("I1: refuses a server whose certificate is for clients only", async () => {
    await using bed = await startBed(engine);
    await using hostile = await startHostileServer(leafOf(serverUri, { uses: [2] }), () => {});
    await expect(bed.dialer.dial(targetOf(hostile.address), request)).rejects.toThrow(/purpose/i);
    await bed.counted(refusedTotal, { side: "upstream", reason: "handshake" }, 1);
  });

  it.each<[string, Parameters<typeof startHostileServer>[2], string]>([
    ["TLS 1.2", { tls: { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } }, "handshake"],
    ["no ALPN", { tls: { ALPNProtocols: [] } }, "no-alpn"],
    ["ALPN http/1.1", { tls: { ALPNProtocols: ["http/1.1"] } }, "no-alpn"],
    ["ChaCha20 only", { tls: { ciphers: "TLS_CHACHA20_POLY1305_SHA256" } }, "handshake"],
  ])("I3: refuses a server with %s", async (_name, options, reason) => {
    await using bed = await startBed(engine);
    await using hostile = await startHostileServer(leafOf(serverUri), () => {}, options);
    await expect(bed.dialer.dial(targetOf(hostile.address), request)).rejects.toMatchObject({
      code: "HBONE_HANDSHAKE_FAILED",
    });
    await bed.counted(refusedTotal, { side: "upstream", reason }, 1);
  });

  it("I3: shows its certificate in every connection, whatever tickets the server gave", async () => {
    await using bed = await startBed(engine);
    const reused: boolean[] = [];
    await using hostile = await startHostileServer(leafOf(serverUri), (peer) => {
      peer.send(settingsFrame());
      reused.push(peer.resumed);
      setImmediate(() => peer.destroy());
    });
    for (let i = 0; i < 3; i++) await expect(bed.dialer.dial(targetOf(hostile.address), request)).rejects.toThrow();
    expect(reused.length).toBeGreaterThanOrEqual(3);
    expect(new Set(reused)).toEqual(new Set([false]));
  });

  it.each(goodCertificates)("accepts a server with a certificate $name", async ({ material }) => {
    await using bed = await AttackBed.start(engine, { material: material(serverUri), dialerMaterial: honest });
    const tunnel = await bed.dialer.dial(targetOf(bed.address), request);
    expect(tunnel.peerIdentity).toEqual(server);
  });
});
