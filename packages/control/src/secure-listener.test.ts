import { connect } from "node:tls";
import { createIssuer } from "@hairpin/shared/identity";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { ManualClock, TestAuthority, eventually } from "@hairpin/testkit";
import { describe, expect, test } from "vitest";
import { issueOwnServerCertificate } from "./authority/server-certificate.ts";
import { SecureListener } from "./secure-listener.ts";

const dayMs = 24 * 3600 * 1000;

async function serialOf(port: number, rootPem: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const options = {
    host: "127.0.0.1",
    port,
    ca: rootPem,
    servername: "istiod.istio-system.svc",
    ALPNProtocols: ["h2"],
  };
  const socket = connect(options, () => {
    resolve(socket.getPeerCertificate().serialNumber);
    socket.destroy();
  });
  socket.once("error", reject);
  return await promise;
}

describe("SecureListener", () => {
  test("serves istiod's names by our own CA, with a fresh certificate before the old one ends", async () => {
    const clock = new ManualClock(new Date());
    const authority = new TestAuthority();
    const issuer = createIssuer(authority.signing);
    const names = { rootNamespace: "istio-system", clusterDomain: "cluster.local", ips: ["127.0.0.1"] };
    let issued = 0;
    const listener = new SecureListener(
      {
        issue: () => {
          issued++;
          // Each is valid now by the machine's clock, and lives by the test's.
          const made = issueOwnServerCertificate(issuer, names, systemClock);
          return { ...made, notAfter: new Date(clock.wallTime().getTime() + 90 * dayMs) };
        },
        services: [],
        whenServing: async () => {},
        clock,
        logger: noLogger,
      },
      { host: "127.0.0.1", port: 0 },
    );
    await listener.start();
    const { port } = listener;
    const first = await serialOf(port, authority.rootPem);
    await clock.advance(59 * dayMs);
    expect(await serialOf(port, authority.rootPem)).toBe(first);
    await clock.advance(60 * dayMs);
    await eventually(async () => expect(await serialOf(port, authority.rootPem)).not.toBe(first));
    expect(issued).toBe(2);
    await listener.stop();
  });

  test("stops quietly while there is nothing to serve yet", async () => {
    const waiting = Promise.withResolvers<void>();
    const listener = new SecureListener(
      {
        issue: () => {
          throw new Error("not asked for");
        },
        services: [],
        whenServing: () => waiting.promise,
        clock: new ManualClock(),
        logger: noLogger,
      },
      { host: "127.0.0.1", port: 0 },
    );
    const starting = listener.start();
    await listener.stop();
    waiting.reject(new Error("stopped"));
    await expect(starting).resolves.toBeUndefined();
  });
});
