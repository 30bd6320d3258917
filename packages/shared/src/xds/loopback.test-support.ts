/** For tests of this folder: a TLS certificate for loopback, and xDS resources that are plain text. */
import forge from "node-forge";
import type { ResourceHandler, ResourceType, ResourceUpdate } from "./resource-type.ts";

export interface LoopbackTls {
  readonly rootPem: string;
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
}

/** A self-signed certificate for a DNS name and, if wanted, 127.0.0.1. */
export function createLoopbackTls(dnsName: string, withIp = false): LoopbackTls {
  const keys = forge.pki.rsa.generateKeyPair(2048);
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = keys.publicKey;
  certificate.serialNumber = "01";
  certificate.validity.notBefore = new Date(Date.now() - 60_000);
  certificate.validity.notAfter = new Date(Date.now() + 3_600_000);
  const name = [{ name: "commonName", value: dnsName }];
  certificate.setSubject(name);
  certificate.setIssuer(name);
  const altNames = [{ type: 2, value: dnsName }, ...(withIp ? [{ type: 7, ip: "127.0.0.1" }] : [])];
  certificate.setExtensions([
    { name: "basicConstraints", cA: true },
    { name: "subjectAltName", altNames },
  ]);
  certificate.sign(keys.privateKey, forge.md.sha256.create());
  const pem = forge.pki.certificateToPem(certificate);
  return { rootPem: pem, certificateChainPem: pem, privateKeyPem: forge.pki.privateKeyToPem(keys.privateKey) };
}

/** UTF-8 text; "undecodable" cannot be decoded. */
export function textType(typeUrl: string): ResourceType<string> {
  return {
    typeUrl,
    decode(bytes) {
      const text = Buffer.from(bytes).toString();
      if (text === "undecodable") throw new Error("it is said to be undecodable");
      return text;
    },
  };
}

/** Holds text; refuses "bad". Remembers every update. */
export class TextHolder implements ResourceHandler<string> {
  readonly held: Map<string, string> = new Map();
  readonly updates: ResourceUpdate<string>[] = [];
  readonly log: string[];
  readonly #label: string;

  /** `log` gets a line per update, in the order in which several holders are called. */
  constructor(label = "", log: string[] = []) {
    this.#label = label;
    this.log = log;
  }

  apply(update: ResourceUpdate<string>): ReadonlyMap<string, string> {
    this.updates.push(update);
    const rejected = new Map<string, string>();
    for (const name of update.removed) this.held.delete(name);
    for (const { name, resource } of update.upserts)
      if (resource === "bad") rejected.set(name, "it is bad");
      else this.held.set(name, resource);
    this.log.push(`${this.#label}: ${update.upserts.map((upsert) => upsert.name).join(",")}`);
    return rejected;
  }
}

export function text(name: string, value: string): { name: string; body: Uint8Array } {
  return { name, body: Buffer.from(value) };
}
