import { create } from "@bufbuild/protobuf";
import { type ServerUnaryCall, type sendUnaryData, status } from "@grpc/grpc-js";
import { istioCa } from "@hairpin/shared/api";
import { createCertificateMethod, defaultTtlMs, impersonatedIdentityKey } from "@hairpin/shared/identity";
import { formatSpiffeId } from "@hairpin/shared/model";
import { MeshError, errorMessage } from "@hairpin/shared/process";
import type { Logger, MetricRegistry } from "@hairpin/shared/telemetry";
import type { GrpcService } from "@hairpin/shared/xds";
import type { MeshConfig } from "../ambient/mesh-config.ts";
import type { ObjectCollection } from "../collection/object-collection.ts";
import { readBearer } from "./bearer.ts";
import type { Caller, TokenVerifier } from "./caller.ts";
import { callerOfCertificate } from "./client-certificate.ts";
import { decideGrant } from "./decide-grant.ts";
import { PacedQueue } from "./paced-queue.ts";
import type { AuthoritySource } from "./signing-authority.ts";

type Request = istioCa.IstioCertificateRequest;
type Response = istioCa.IstioCertificateResponse;

/**
 * `istio.v1.auth.IstioCertificateService`. Whoever is refused learns nothing but Unauthenticated; the reason is in our log.
 * Of the CSR only the key is used, after it proved itself. Callers come with a token, or with a certificate of our own CA.
 */
export function createCertificateService(
  components: {
    readonly authorities: AuthoritySource;
    readonly tokens: TokenVerifier;
    readonly objects: ObjectCollection;
    readonly metrics: MetricRegistry;
    readonly logger: Logger;
  },
  options: { readonly config: MeshConfig; readonly maxTtlMs: number },
): GrpcService {
  const { authorities, objects, logger, tokens } = components;
  const paced = new PacedQueue();
  const requests = components.metrics.counter({
    name: "hairpin_ca_requests_total",
    help: "Certificate requests by result: issued, refused (who asked), invalid (what was asked), failed.",
    labels: ["result"],
  });
  const count = (result: string): void => requests.handle({ result }).add(1);

  const identify = async (call: ServerUnaryCall<Request, Response>): Promise<Caller> => {
    const bearers = call.metadata.get("authorization").map(String);
    const certificate = call.getAuthContext().sslPeerCertificate?.raw;
    // A token says more than a certificate; one that is no good is not overlooked.
    if (bearers.length > 0 || certificate === undefined) return await tokens.verify(readBearer(bearers));
    return callerOfCertificate(certificate, options.config);
  };

  const answer = async (call: ServerUnaryCall<Request, Response>): Promise<Response> => {
    const { request } = call;
    const caller = await paced.run(() => identify(call));
    const impersonated = impersonatedIdentity(request);
    const context = { snapshot: objects.snapshot(), config: options.config };
    const decision = decideGrant(caller, impersonated, context);
    const by = `${caller.namespace}/${caller.serviceAccount}`;
    if (decision.kind === "refused") throw new GrantRefused(decision.reason, by);
    const ttlMs = lifetime(request.validityDuration, options.maxTtlMs);
    const certChain = await paced.run(() =>
      authorities.current.authority.sign(request.csr, { identity: decision.identity, ttlMs }),
    );
    logger.debug("certificate issued", { identity: formatSpiffeId(decision.identity), by, ttlMs });
    return create(istioCa.IstioCertificateResponseSchema, { certChain: [...certChain] });
  };

  const handle = async (call: ServerUnaryCall<Request, Response>, reply: sendUnaryData<Response>): Promise<void> => {
    try {
      const response = await answer(call);
      count("issued");
      reply(null, response);
    } catch (error) {
      const outcome = outcomeOf(error);
      count(outcome.result);
      const by = error instanceof GrantRefused ? error.by : undefined;
      logger.warn("certificate request refused", { peer: call.getPeer(), by, error: errorMessage(error) });
      reply({ code: outcome.code, details: outcome.details });
    }
  };
  return {
    definition: { createCertificate: createCertificateMethod },
    implementation: {
      createCertificate: (call: ServerUnaryCall<Request, Response>, reply: sendUnaryData<Response>) =>
        void handle(call, reply),
    },
  };
}

class GrantRefused extends Error {
  readonly by: string;
  constructor(reason: string, by: string) {
    super(reason);
    this.by = by;
  }
}

function outcomeOf(error: unknown): { readonly result: string; readonly code: status; readonly details: string } {
  const code = error instanceof MeshError ? error.code : "";
  if (error instanceof GrantRefused || code === "TOKEN_REFUSED")
    return { result: "refused", code: status.UNAUTHENTICATED, details: "request authenticate failure" };
  if (error instanceof MeshError && code === "CSR_INVALID")
    return { result: "invalid", code: status.INVALID_ARGUMENT, details: error.message };
  if (code === "TOKEN_REVIEW_FAILED" || code === "CA_OVERLOADED")
    return { result: "failed", code: status.UNAVAILABLE, details: "try again later" };
  return { result: "failed", code: status.INTERNAL, details: "the certificate could not be issued" };
}

/** Undefined when the request names nobody; a value that is no text names nobody who exists. */
function impersonatedIdentity(request: Request): string | undefined {
  const value = request.metadata?.[impersonatedIdentityKey];
  if (value === undefined || value === null) return undefined;
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What was asked for, at most the cap; nothing or less: the default. */
function lifetime(seconds: bigint, maxTtlMs: number): number {
  const asked = seconds > 0n ? Number(seconds) * 1000 : defaultTtlMs;
  return Math.min(asked, maxTtlMs);
}
