import { chmod, mkdir, open, readFile, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { type AuthorityCertificate, createKeyPair, createRootCertificate } from "@hairpin/shared/identity";
import type { Clock } from "@hairpin/shared/process";
import { ControlError } from "../errors.ts";
import { type AuthoritySource, createSigningAuthority } from "./signing-authority.ts";

/** The names that Istio uses in a plugged-in CA's folder. */
const keyFile = "ca-key.pem";
const certificateFile = "ca-cert.pem";
const rootFile = "root-cert.pem";
const chainFile = "cert-chain.pem";

/** A CA whose files never change while control runs. */
export interface RootAuthority extends AuthoritySource {
  /** Where the roots are for others to read. */
  readonly rootPath: string;
  /** True when the key was made just now. */
  readonly created: boolean;
}

/**
 * Opens the CA in a folder. An empty folder gets a new self-signed root (P-256, 10 years), made once; a key that is there is
 * used, with `root-cert.pem` and `cert-chain.pem` when it is an intermediate's. Throws `CA_DIR_INVALID` when the files do not
 * fit each other or others may read the key.
 */
export async function openRootAuthority(folder: string, clock: Clock): Promise<RootAuthority> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const held = await readAuthority(folder);
    const created = held === undefined;
    const signing = held ?? (await createAuthority(folder, clock));
    const rootPath = join(folder, rootFile);
    const rootBundlePem = (await readOptional(rootPath)) ?? signing.certificatePem;
    const intermediatesPem = (await readOptional(join(folder, chainFile))) ?? "";
    const current = createSigningAuthority(
      { signing, intermediatesPem, rootsPem: rootBundlePem },
      rootBundlePem,
      clock,
    );
    await writeWhole(rootPath, current.authority.rootBundlePem, 0o644);
    return { current, onChange: () => () => {}, rootPath, created };
  } catch (cause) {
    if (cause instanceof ControlError) throw cause;
    throw new ControlError("CA_DIR_INVALID", `The CA in ${folder} cannot be used`, { cause });
  }
}

async function readAuthority(folder: string): Promise<AuthorityCertificate | undefined> {
  const keyPath = join(folder, keyFile);
  const privateKeyPem = await readOptional(keyPath);
  if (privateKeyPem === undefined) return undefined;
  const { mode } = await stat(keyPath);
  if ((mode & 0o077) !== 0)
    throw new ControlError(
      "CA_DIR_INVALID",
      `${keyPath} can be read by others (mode ${(mode & 0o777).toString(8)}): chmod it 600`,
    );
  return { privateKeyPem, certificatePem: await readFile(join(folder, certificateFile), "utf8") };
}

/** The certificate is written before the key: a crash between the two leaves no key without its certificate. */
async function createAuthority(folder: string, clock: Clock): Promise<AuthorityCertificate> {
  await chmod(folder, 0o700);
  const made = createRootCertificate("hairpin", clock.wallTime(), createKeyPair());
  await writeWhole(join(folder, certificateFile), made.certificatePem, 0o644);
  await writeWhole(join(folder, rootFile), made.certificatePem, 0o644);
  await writeWhole(join(folder, keyFile), made.privateKeyPem, 0o600);
  return made;
}

/** Nobody ever reads half a file: written beside, synced, renamed. */
async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  const beside = `${path}.${process.pid}.new`;
  const file = await open(beside, "w", mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
