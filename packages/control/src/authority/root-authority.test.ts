import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  checkIssuedChain,
  createCsr,
  createKeyPair,
  formatPrivateKey,
  splitCertificates,
} from "@hairpin/shared/identity";
import { parseSpiffeId } from "@hairpin/shared/model";
import { ManualClock, TestAuthority } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type RootAuthority, openRootAuthority } from "./root-authority.ts";

const clock = new ManualClock();
const web = parseSpiffeId("spiffe://cluster.local/ns/shop/sa/web");

const bundleOf = ({ current }: RootAuthority): string => current.authority.rootBundlePem;

describe("openRootAuthority", () => {
  let folder: string;
  beforeEach(async () => {
    folder = join(await mkdtemp(join(tmpdir(), "hairpin-ca-")), "ca");
  });
  afterEach(async () => {
    await rm(join(folder, ".."), { recursive: true });
  });

  test("makes a root once, with a key that only its owner can read", async () => {
    const first = await openRootAuthority(folder, clock);
    const second = await openRootAuthority(folder, clock);
    expect([first.created, second.created]).toEqual([true, false]);
    expect(bundleOf(second)).toBe(bundleOf(first));
    expect(await readFile(first.rootPath, "utf8")).toBe(bundleOf(first));
    const modes = await Promise.all(
      [folder, join(folder, "ca-key.pem")].map(async (path) => (await stat(path)).mode & 0o777),
    );
    expect(modes).toEqual([0o700, 0o600]);
  });

  test("issues with a plugged-in intermediate, whose chain and roots it hands out", async () => {
    const plugged = new TestAuthority({ intermediate: true, now: clock.wallTime() });
    await openRootAuthority(folder, clock);
    await writeFile(join(folder, "ca-key.pem"), plugged.signing.privateKeyPem);
    await writeFile(join(folder, "ca-cert.pem"), plugged.signing.certificatePem);
    await writeFile(join(folder, "cert-chain.pem"), plugged.signing.certificatePem);
    await writeFile(join(folder, "root-cert.pem"), plugged.rootPem);
    const { current } = await openRootAuthority(folder, clock);
    const keyPair = createKeyPair();
    const chain = current.authority.sign(createCsr(web, keyPair), { identity: web, ttlMs: 1000 });
    const roots = splitCertificates(chain.at(-1) ?? "");
    const issued = { chain: chain.slice(0, -1), roots, privateKeyPem: formatPrivateKey(keyPair) };
    expect(checkIssuedChain(issued, web, clock.wallTime()).identity).toEqual(web);
    expect(roots).toEqual(splitCertificates(plugged.rootPem));
  });

  test("refuses a key that others can read", async () => {
    await openRootAuthority(folder, clock);
    await chmod(join(folder, "ca-key.pem"), 0o640);
    await expect(openRootAuthority(folder, clock)).rejects.toThrow(/can be read by others \(mode 640\): chmod it 600/);
  });

  test("refuses a key that does not fit its certificate, and keeps the files", async () => {
    await openRootAuthority(folder, clock);
    await writeFile(join(folder, "ca-key.pem"), formatPrivateKey(createKeyPair()));
    await expect(openRootAuthority(folder, clock)).rejects.toMatchObject({ code: "CA_DIR_INVALID" });
  });
});
