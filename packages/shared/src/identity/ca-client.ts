import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { create } from "@bufbuild/protobuf";
import {
  type ChannelCredentials,
  type ChannelOptions,
  Client,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import {
  IstioCertificateRequestSchema,
  type IstioCertificateRequest,
  type IstioCertificateResponse,
} from "../api/gen/istio/ca_pb.ts";
import { isLoopback } from "../model/address.ts";
import { formatSpiffeId, type Identity } from "../model/identity.ts";
import { type Clock, systemClock } from "../process/clock.ts";
import { createCertificateMethod, impersonatedIdentityKey } from "./ca-method.ts";
import { type Certificate, checkIssuedChain, readX509, splitCertificates } from "./certificate.ts";
import type { CertificateSource } from "./certificate-authority.ts";
import { createCsr } from "./csr.ts";
import { IdentityError } from "./errors.ts";
import { defaultTtlMs } from "./issue-certificate.ts";
import { createKeyPair, formatPrivateKey } from "./key-pair.ts";
import { parseTrustBundle } from "./trust-bundle.ts";

export interface CaClientOptions {
  /** CA_ADDRESS: `https://host:port`; without a scheme https; `http` only to a loopback address, for the token is secret. */
  readonly address: string;
  /** Root certificates (PEM) of the CA's server, asked for before every call. Undefined from it: the system's. */
  readonly rootPem: () => Promise<string | undefined>;
  /** Bearer token, asked for before every call. Undefined from it: none is sent. */
  readonly token: () => Promise<string | undefined>;
  /** Sent as metadata `clusterid`. */
  readonly clusterId: string;
  /** ALT_CA_HOSTNAME: a further name that the server's certificate may carry instead of the host of `address`. */
  readonly alternativeHostname?: string | undefined;
  /** CA_HEADER_*: further metadata of every call. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Ask on behalf of workloads (ztunnel); false: for the token's own identity (waypoint). */
  readonly impersonate: boolean;
  /** SECRET_TTL. Default 24 h; the CA may give less. */
  readonly ttlMs?: number;
  /** Of one call, connecting included. Default 10 s (ztunnel has none, and a CA that hangs keeps its first callers hanging). */
  readonly deadlineMs?: number;
  /** Of one answer. Default 1 MiB. */
  readonly maxMessageBytes?: number;
}

/** A {@link CertificateSource} that must be closed. */
export interface CaClient extends CertificateSource {
  /** Ends calls that wait for a connection; later calls fail with `CA_UNAVAILABLE`. Idempotent. */
  close(): void;
}

/**
 * Speaks istio.v1.auth.IstioCertificateService. Errors: `CA_UNAVAILABLE` (retryable: no connection, deadline), `CA_REFUSED` (token or
 * identity not accepted), `CA_FAILED` (any other status), `CA_RESPONSE_INVALID` (the answer does not verify), `CA_CONFIG_INVALID`
 * (token or roots cannot be read; thrown at once when the address is not usable).
 */
export function createCaClient(
  options: CaClientOptions,
  { clock = systemClock }: { readonly clock?: Clock } = {},
): CaClient {
  const target = parseCaAddress(options.address);
  let channel: { readonly rootPem: string | undefined; readonly client: Client } | undefined;

  let closed = false;
  const closeChannel = (): void => {
    channel?.client.close();
    channel = undefined;
  };
  const openChannel = async (): Promise<Client> => {
    const rootPem = target.secure ? await readInput("root certificates", options.rootPem) : undefined;
    if (closed) throw new IdentityError("CA_UNAVAILABLE", "The client of the CA has been closed");
    if (channel !== undefined && channel.rootPem === rootPem) return channel.client;
    const channelCredentials = createCredentials(target, rootPem, options.alternativeHostname);
    closeChannel();
    const client = new Client(target.hostPort, channelCredentials, {
      "grpc.max_receive_message_length": options.maxMessageBytes ?? 1024 * 1024,
      "grpc.keepalive_time_ms": 30_000,
      "grpc.keepalive_timeout_ms": 10_000,
      // Retries are the certificate store's; a service config from DNS is nobody's business.
      "grpc.enable_retries": 0,
      "grpc.service_config_disable_resolution": 1,
      "grpc.use_local_subchannel_pool": 1,
      // A proxy from the environment would be shown the token's channel.
      "grpc.enable_http_proxy": 0,
      ...serverNameOption(target, options.alternativeHostname),
    });
    channel = { rootPem, client };
    return client;
  };

  return {
    async fetchCertificate(identity, { signal } = {}) {
      const keyPair = createKeyPair();
      const request = create(IstioCertificateRequestSchema, {
        csr: createCsr(identity, keyPair),
        validityDuration: BigInt(Math.floor((options.ttlMs ?? defaultTtlMs) / 1000)),
        ...(options.impersonate ? { metadata: { [impersonatedIdentityKey]: formatSpiffeId(identity) } } : {}),
      });
      const metadata = await createMetadata(options);
      const client = await openChannel();
      let response: IstioCertificateResponse;
      try {
        response = await call({ client, request, metadata, deadlineMs: options.deadlineMs ?? 10_000, signal });
      } catch (error) {
        // A channel that failed would back off on its own; the next attempt, which the store paces, dials anew.
        // By then a later call may have opened another one.
        if (isServiceError(error) && error.code === status.UNAVAILABLE && channel?.client === client) closeChannel();
        throw convertError(error, identity, options.address);
      }
      return readResponse(response, identity, { privateKeyPem: formatPrivateKey(keyPair), now: clock.wallTime() });
    },
    close: () => {
      closed = true;
      closeChannel();
    },
  };
}

interface CaTarget {
  readonly secure: boolean;
  readonly host: string;
  readonly hostPort: string;
}

function parseCaAddress(address: string): CaTarget {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(address) ? address : `https://${address}`;
  const fail = (reason: string): never => {
    throw new IdentityError("CA_CONFIG_INVALID", `CA address ${JSON.stringify(address)} is not usable: ${reason}`);
  };
  const url = URL.canParse(text) ? new URL(text) : fail("give https://host:port");
  if (url.protocol !== "https:" && url.protocol !== "http:") fail("the scheme must be https");
  const extras = url.search + url.hash + url.username + url.password;
  if (url.pathname !== "/" || extras !== "") fail("give only host and port");
  const secure = url.protocol === "https:";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isLocal = host === "localhost" || (isIP(host) !== 0 && isLoopback(host));
  if (!secure && !isLocal) fail("http would send the token in clear; use https");
  const defaultPort = secure ? "443" : "80";
  return { secure, host, hostPort: `${url.hostname}:${url.port || defaultPort}` };
}

/** Node refuses an IP as the server name (RFC 6066 §3 forbids it), and gRPC would send it: an IP needs some name in its place. */
function serverNameOption(target: CaTarget, alternative: string | undefined): ChannelOptions {
  const serverName = alternative ?? (isIP(target.host) === 0 ? undefined : "ca.invalid");
  return serverName === undefined ? {} : { "grpc.ssl_target_name_override": serverName };
}

function createCredentials(
  target: CaTarget,
  rootPem: string | undefined,
  alternative: string | undefined,
): ChannelCredentials {
  if (!target.secure) return credentials.createInsecure();
  const roots = rootPem === undefined ? null : Buffer.from(readRoots(rootPem));
  return credentials.createSsl(roots, null, null, {
    // The name given here may be the stand-in above: what is checked are the configured ones.
    checkServerIdentity: (_name: string, certificate: PeerCertificate) => {
      const error = checkServerIdentity(target.host, certificate);
      if (error === undefined || alternative === undefined) return error;
      return checkServerIdentity(alternative, certificate);
    },
  });
}

/** Node takes any text for roots and then trusts nobody: what is wrong would be told as a failed handshake. */
function readRoots(pem: string): string {
  try {
    const roots = splitCertificates(pem);
    if (roots.length === 0) throw new Error("there is no certificate in it");
    for (const root of roots) readX509(root);
    return roots.join("");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `The root certificates for the CA are not usable: ${reason}`;
    throw new IdentityError("CA_CONFIG_INVALID", message, { cause, retryable: true });
  }
}

async function createMetadata(options: CaClientOptions): Promise<Metadata> {
  const metadata = new Metadata();
  metadata.set("clusterid", options.clusterId);
  for (const [name, value] of Object.entries(options.headers ?? {})) metadata.set(name, value);
  const token = (await readInput("token", options.token))?.trim();
  if (token === undefined || token === "") return metadata;
  if (!/^[\x21-\x7e]{1,16384}$/.test(token))
    throw new IdentityError(
      "CA_CONFIG_INVALID",
      "The token for the CA has characters that no token has, or is too long",
    );
  metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

/** The files may come later than the process (a volume not yet mounted): worth another try. */
async function readInput(what: string, read: () => Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await read();
  } catch (cause) {
    throw new IdentityError("CA_CONFIG_INVALID", `The ${what} for the CA cannot be read`, { cause, retryable: true });
  }
}

interface Call {
  readonly client: Client;
  readonly request: IstioCertificateRequest;
  readonly metadata: Metadata;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
}

async function call({ client, request, metadata, deadlineMs, signal }: Call): Promise<IstioCertificateResponse> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<IstioCertificateResponse>();
  const { path, requestSerialize, responseDeserialize } = createCertificateMethod;
  const running = client.makeUnaryRequest(
    path,
    requestSerialize,
    responseDeserialize,
    request,
    metadata,
    { deadline: Date.now() + deadlineMs },
    (error, response) => {
      if (error !== null) reject(error);
      else if (response === undefined) reject(new Error("The CA sent no answer"));
      else resolve(response);
    },
  );
  const onAbort = (): void => running.cancel();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await promise;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number";
}

function convertError(error: unknown, identity: Identity, address: string): IdentityError {
  const name = isServiceError(error) ? (status[error.code] ?? String(error.code)) : "UNKNOWN";
  const detail = isServiceError(error) ? error.details : String(error);
  const codes = {
    UNAVAILABLE: "CA_UNAVAILABLE",
    DEADLINE_EXCEEDED: "CA_UNAVAILABLE",
    UNAUTHENTICATED: "CA_REFUSED",
    PERMISSION_DENIED: "CA_REFUSED",
  } as const;
  const known: Readonly<Record<string, "CA_UNAVAILABLE" | "CA_REFUSED">> = codes;
  const code = known[name] ?? "CA_FAILED";
  const message = `No certificate for ${formatSpiffeId(identity)} from ${address}: ${name}: ${detail}`;
  return new IdentityError(code, message, {
    cause: error,
    origin: "upstream",
    retryable: code === "CA_UNAVAILABLE",
    details: { status: name },
  });
}

interface ResponseContext {
  readonly privateKeyPem: string;
  readonly now: Date;
}

function readResponse(response: IstioCertificateResponse, identity: Identity, context: ResponseContext): Certificate {
  try {
    const bundle = response.certChain.length > 1 ? response.certChain.at(-1) : undefined;
    if (bundle === undefined) throw new Error("no root certificate present");
    const chain = response.certChain.slice(0, -1).flatMap((pem) => splitCertificates(pem));
    const issued = { chain, roots: parseTrustBundle(bundle), privateKeyPem: context.privateKeyPem };
    return checkIssuedChain(issued, identity, context.now);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `The CA's answer for ${formatSpiffeId(identity)} is not usable: ${reason}`;
    throw new IdentityError("CA_RESPONSE_INVALID", message, { cause, origin: "upstream" });
  }
}
