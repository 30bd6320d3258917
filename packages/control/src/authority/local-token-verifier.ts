import { errors, importSPKI, jwtVerify, type JWTPayload } from "jose";
import { systemClock, type Clock } from "@hairpin/shared/process";
import { ControlError } from "../errors.ts";
import { type Caller, type TokenVerifier, tokenRefused } from "./caller.ts";

const issuer = "hairpin-local";
const audience = "istio-ca";
/** Nobody makes longer ones, and a token cannot be revoked. */
const maxLifetimeSeconds = 3600;
const clockToleranceSeconds = 5;
/** A local token has about 700 bytes. */
const maxTokenLength = 8192;

/** Verifies the tokens of the local mesh: ES256, by one public key (PEM, SPKI). Rejects for a key that is none. */
export async function createLocalTokenVerifier(
  publicKeyPem: string,
  clock: Clock = systemClock,
): Promise<TokenVerifier> {
  const key = await importSPKI(publicKeyPem, "ES256");
  return {
    verify: async (token) => {
      if (token.length > maxTokenLength)
        throw tokenRefused(`it has ${token.length} bytes, more than ${maxTokenLength}`);
      try {
        const { payload } = await jwtVerify(token, key, {
          algorithms: ["ES256"],
          issuer,
          audience,
          clockTolerance: clockToleranceSeconds,
          currentDate: clock.wallTime(),
          requiredClaims: ["exp", "iat", "sub"],
        });
        return callerOf(payload);
      } catch (cause) {
        if (cause instanceof ControlError) throw cause;
        throw tokenRefused(
          cause instanceof errors.JOSEError ? `${cause.code}: ${cause.message}` : "it is not readable",
          cause,
        );
      }
    },
  };
}

interface KubernetesClaims {
  readonly namespace?: unknown;
  readonly serviceaccount?: { readonly name?: unknown };
  readonly pod?: { readonly name?: unknown; readonly uid?: unknown };
}

function callerOf(payload: JWTPayload): Caller {
  const lifetime = (payload.exp ?? Infinity) - (payload.iat ?? 0);
  if (lifetime > maxLifetimeSeconds) throw tokenRefused(`it lives for ${lifetime} s, more than ${maxLifetimeSeconds}`);
  const claims = payload["kubernetes.io"] as KubernetesClaims | undefined;
  const namespace = claims?.namespace;
  const serviceAccount = claims?.serviceaccount?.name;
  const pod = claims?.pod;
  if (typeof namespace !== "string" || typeof serviceAccount !== "string")
    throw tokenRefused("its kubernetes.io claim names no service account");
  if (payload.sub !== `system:serviceaccount:${namespace}:${serviceAccount}`)
    throw tokenRefused(`its subject ${String(payload.sub)} contradicts its kubernetes.io claim`);
  if (pod !== undefined && (typeof pod.name !== "string" || typeof pod.uid !== "string"))
    throw tokenRefused("its pod has no name or uid");
  return {
    namespace,
    serviceAccount,
    pod: pod === undefined ? undefined : { name: String(pod.name), uid: String(pod.uid) },
  };
}
