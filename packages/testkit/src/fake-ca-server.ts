import { create } from "@bufbuild/protobuf";
import { type Metadata, Server, ServerCredentials, type ServerErrorResponse, type status } from "@grpc/grpc-js";
import { istioCa } from "@hairpin/shared/api";
import { createCertificateMethod, impersonatedIdentityKey } from "@hairpin/shared/identity";
import { type Identity, parseSpiffeId } from "@hairpin/shared/model";
import type { Clock } from "@hairpin/shared/process";
import type { TestAuthority } from "./test-authority.ts";

/** One call as the server saw it. */
export interface FakeCaCall {
  readonly csrPem: string;
  readonly validitySeconds: number;
  readonly impersonatedIdentity: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What the server does with a call: a chain, or the way to fail. */
export type FakeCaAnswer =
  | { readonly chain: readonly string[] }
  | { readonly code: status; readonly message: string }
  | { readonly hang: true };

export interface FakeCaOptions {
  readonly authority: TestAuthority;
  /** Identity of calls that do not impersonate. Default ns/default/sa/default. */
  readonly ownIdentity?: Identity;
  /** Names of the server's certificate. Default: 127.0.0.1 and istiod.istio-system.svc. */
  readonly names?: { readonly dnsNames?: readonly string[]; readonly ips?: readonly string[] };
  /** Takes the place of the answer; undefined from it: answer properly. */
  readonly answer?: (call: FakeCaCall, sign: () => readonly string[]) => FakeCaAnswer | undefined;
  readonly clock?: Clock;
  /** Default 0. */
  readonly port?: number;
}

export interface FakeCaServer extends AsyncDisposable {
  /** `https://127.0.0.1:port`. */
  readonly address: string;
  readonly port: number;
  readonly rootPem: string;
  readonly calls: readonly FakeCaCall[];
  /** Ends calls under way; when it resolves, the port is free. Idempotent. */
  close(): Promise<void>;
}

/** istiod's certificate service on loopback with TLS: signs for whoever asks, and remembers each call. */
export async function startFakeCaServer(options: FakeCaOptions): Promise<FakeCaServer> {
  const { authority } = options;
  const certificateAuthority = authority.certificateAuthority(options.clock);
  const ownIdentity = options.ownIdentity ?? authority.identity("default/default");
  const calls: FakeCaCall[] = [];
  const server = new Server({ "grpc.max_receive_message_length": 64 * 1024 });
  server.addService(
    { createCertificate: createCertificateMethod },
    {
      createCertificate: (
        { request, metadata }: { request: istioCa.IstioCertificateRequest; metadata: Metadata },
        reply: (
          error: ServerErrorResponse | Partial<ServerErrorResponse> | null,
          response?: istioCa.IstioCertificateResponse,
        ) => void,
      ) => {
        const call = describeCall(request, metadata);
        calls.push(call);
        const identity =
          call.impersonatedIdentity === undefined ? ownIdentity : parseSpiffeId(call.impersonatedIdentity);
        const sign = (): readonly string[] =>
          certificateAuthority.sign(call.csrPem, { identity, ttlMs: call.validitySeconds * 1000 });
        const answer = options.answer?.(call, sign) ?? { chain: sign() };
        if ("hang" in answer) return;
        if ("code" in answer) reply({ code: answer.code, details: answer.message });
        else reply(null, create(istioCa.IstioCertificateResponseSchema, { certChain: [...answer.chain] }));
      },
    },
  );
  const own = authority.issueServer(options.names ?? { dnsNames: ["istiod.istio-system.svc"], ips: ["127.0.0.1"] });
  const pair = { cert_chain: Buffer.from(own.certificatePem), private_key: Buffer.from(own.privateKeyPem) };
  const bound = Promise.withResolvers<number>();
  server.bindAsync(`127.0.0.1:${options.port ?? 0}`, ServerCredentials.createSsl(null, [pair]), (error, port) => {
    if (error === null) bound.resolve(port);
    else bound.reject(error);
  });
  const port = await bound.promise;
  const close = async (): Promise<void> => {
    const ended = Promise.withResolvers<void>();
    server.tryShutdown(() => ended.resolve());
    server.forceShutdown();
    await ended.promise;
  };
  return {
    address: `https://127.0.0.1:${port}`,
    port,
    rootPem: authority.rootPem,
    calls,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function describeCall(request: istioCa.IstioCertificateRequest, metadata: Metadata): FakeCaCall {
  const impersonated = request.metadata?.[impersonatedIdentityKey];
  const texts = Object.entries(metadata.getMap()).map(([name, value]) => [name, value.toString()]);
  return {
    csrPem: request.csr,
    validitySeconds: Number(request.validityDuration),
    impersonatedIdentity: typeof impersonated === "string" ? impersonated : undefined,
    metadata: Object.fromEntries(texts),
  };
}
