// What ztunnel and waypoint read from the environment to reach the control plane; Istio's variables (ztunnel.md §1.2).
import { readFile } from "node:fs/promises";
import type { ConfigReader } from "../process/index.ts";

const defaultControlPlane = "https://istiod.istio-system.svc:15012";
const defaultRootPath = "./var/run/secrets/istio/root-cert.pem";
const defaultTokenPath = "./var/run/secrets/tokens/istio-token";

/** Where root certificates come from. */
export type RootSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "system" }
  | { readonly kind: "inline"; readonly pem: string };

/** Where the bearer token comes from. */
export type TokenSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "literal"; readonly token: string };

/** A server of the control plane. */
export interface ControlPlaneEndpoint {
  /** With scheme. */
  readonly address: string;
  readonly root: RootSource;
  /** A further name that its certificate may carry. */
  readonly alternativeHostname: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads `<prefix>_ADDRESS`, `<prefix>_ROOT_CA`, `ALT_<prefix>_HOSTNAME` and `<prefix>_HEADER_*`. */
export function readControlPlaneEndpoint(
  reader: ConfigReader,
  environment: Environment,
  prefix: "XDS" | "CA",
): ControlPlaneEndpoint {
  const text = reader.string(`${prefix}_ADDRESS`, defaultControlPlane);
  const address = text.includes("://") ? text : `https://${text}`;
  if (!/^https?:\/\/[^/]+$/.test(address))
    reader.mistake(`${prefix}_ADDRESS`, text, "is not accepted: give https://host:port");
  return {
    address,
    root: rootSource(reader.string(`${prefix}_ROOT_CA`, defaultRootPath)),
    alternativeHostname: reader.optionalString(`ALT_${prefix}_HOSTNAME`),
    headers: withPrefix(environment, `${prefix}_HEADER_`, (name) => name.toLowerCase()),
  };
}

/** `AUTH_TOKEN`: a value with a slash is a path; anything else is the token itself, as ztunnel has it. */
export function readTokenSource(reader: ConfigReader): TokenSource {
  const text = reader.string("AUTH_TOKEN", defaultTokenPath, { secret: true });
  return text.includes("/") ? { kind: "file", path: text } : { kind: "literal", token: text };
}

/** Node metadata: `ISTIO_META_*` are strings, `ISTIO_METAJSON_*` are JSON. */
export function readNodeMetadata(reader: ConfigReader, environment: Environment): Readonly<Record<string, unknown>> {
  const metadata: Record<string, unknown> = withPrefix(environment, "ISTIO_META_", (name) => name);
  for (const [name, text] of Object.entries(withPrefix(environment, "ISTIO_METAJSON_", (name) => name))) {
    try {
      metadata[name] = JSON.parse(text);
    } catch (error) {
      const problem = `is not JSON (${error instanceof Error ? error.message : String(error)})`;
      reader.mistake(`ISTIO_METAJSON_${name}`, text, problem);
    }
  }
  return metadata;
}

/** `CONNECTION_TERMINATION_DEADLINE`, else a little less than the grace period, so that we end before we are killed. */
export function readDrainDeadline(reader: ConfigReader): number {
  const graceSeconds = reader.integer("TERMINATION_GRACE_PERIOD_SECONDS", 0);
  const fromGrace = Math.max(1, graceSeconds > 10 ? graceSeconds - 5 : graceSeconds - 1);
  return reader.durationMs("CONNECTION_TERMINATION_DEADLINE", graceSeconds === 0 ? 5000 : fromGrace * 1000);
}

/** An endpoint as `/config_dump` shows it: no inline certificate, no header value that may be a secret. */
export function describeEndpoint({ address, root, alternativeHostname, headers }: ControlPlaneEndpoint): object {
  return {
    address,
    root: root.kind === "inline" ? { kind: "inline" } : root,
    alternativeHostname: alternativeHostname ?? null,
    headers: Object.keys(headers),
  };
}

/** The roots as PEM; undefined: the system's. */
export async function loadRoot(source: RootSource): Promise<string | undefined> {
  if (source.kind === "system") return undefined;
  return source.kind === "inline" ? source.pem : await readFile(source.path, "utf8");
}

/** Call it anew for every request: tokens live an hour at most and are replaced on disk. */
export async function loadToken(source: TokenSource): Promise<string | undefined> {
  return source.kind === "literal" ? source.token : (await readFile(source.path, "utf8")).trim();
}

function rootSource(text: string): RootSource {
  if (text === "SYSTEM") return { kind: "system" };
  return text.includes("-----BEGIN") ? { kind: "inline", pem: text } : { kind: "file", path: text };
}

function withPrefix(
  environment: Environment,
  prefix: string,
  rename: (name: string) => string,
): Record<string, string> {
  const found: Record<string, string> = Object.create(null);
  for (const [name, value] of Object.entries(environment)) {
    if (name.startsWith(prefix) && value !== undefined) found[rename(name.slice(prefix.length))] = value;
  }
  return found;
}
