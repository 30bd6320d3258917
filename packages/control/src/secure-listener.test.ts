import { connect } from "node:tls";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { TestAuthority } from "@hairpin/testkit";
import { describe, expect, test } from "vitest";
import { ServingCertificate } from "./authority/serving-certificate.ts";
import { createSigningAuthority, type SigningAuthority } from "./authority/signing-authority.ts";
import { SecureListener } from "./secure-listener.ts";

const names = { rootNamespace: "istio-system", clusterDomain: "cluster.local", ips: ["127.0.0.1"] };

function signingOf({ signing, rootPem }: TestAuthority): SigningAuthority {
  return createSigningAuthority({ signing, intermediatesPem: "", rootsPem: rootPem }, rootPem, systemClock);
}

/** Connects with TLS, and stays until it is told to go. */
async function connectWith(
  port: number,
  rootPem: string,
): Promise<{ readonly serial: string; end(): void; isOpen(): boolean }> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const options = {
    host: "127.0.0.1",
    port,
    ca: rootPem,
    servername: "istiod.istio-system.svc",
    ALPNProtocols: ["h2"],
  };
  const socket = connect(options, resolve);
  socket.once("error", reject);
  socket.resume();
  await promise;
  return {
    serial: socket.getPeerCertificate().serialNumber,
    end: () => socket.destroy(),
    isOpen: () => !socket.destroyed && !socket.readableEnded,
  };
}

describe("SecureListener", () => {
  test("serves istiod's names by our own CA; when that changes new connections get its certificate and open ones stay", async () => {
    const [oldCa, newCa] = [new TestAuthority(), new TestAuthority()];
    let change = (): void => {};
    const authorities = {
      current: signingOf(oldCa),
      onChange: (listener: () => void) => ((change = listener), () => {}),
    };
    const certificate = new ServingCertificate({ authorities, clock: systemClock, logger: noLogger }, names);
    const listener = new SecureListener(
      { certificate, services: [], whenServing: async () => {} },
      { host: "127.0.0.1", port: 0 },
    );
    await certificate.start();
    await listener.start();
    const first = await connectWith(listener.port, oldCa.rootPem);
    authorities.current = signingOf(newCa);
    change();
    const second = await connectWith(listener.port, newCa.rootPem);
    expect(second.serial).not.toBe(first.serial);
    expect(first.isOpen()).toBe(true);
    first.end();
    second.end();
    await listener.stop();
    await certificate.stop();
  });

  test("stops quietly while there is nothing to serve yet", async () => {
    const waiting = Promise.withResolvers<void>();
    const authorities = { current: signingOf(new TestAuthority()), onChange: () => () => {} };
    const certificate = new ServingCertificate({ authorities, clock: systemClock, logger: noLogger }, names);
    const listener = new SecureListener(
      { certificate, services: [], whenServing: () => waiting.promise },
      { host: "127.0.0.1", port: 0 },
    );
    const starting = listener.start();
    await listener.stop();
    waiting.reject(new Error("stopped"));
    await expect(starting).resolves.toBeUndefined();
  });
});
