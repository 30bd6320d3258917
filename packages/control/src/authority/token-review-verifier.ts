import { createHash } from "node:crypto";
import { type Clock, errorMessage } from "@hairpin/shared/process";
import { decodeJwt, type JWTPayload } from "jose";
import { ControlError } from "../errors.ts";
import type { KubernetesApi } from "@hairpin/shared/kubernetes";
import { type Caller, type TokenVerifier, tokenRefused } from "./caller.ts";

const audience = "istio-ca";
const podNameKey = "authentication.kubernetes.io/pod-name";
const podUidKey = "authentication.kubernetes.io/pod-uid";
/** A deleted pod's token is good for so long at most; a node agent that asks for its hundred pods costs one review. */
const cacheMs = 10_000;
const maxCached = 10_000;
/** Projected tokens have about 1 KiB. */
const maxTokenLength = 16 * 1024;
/** Reviews at once; so many more wait. */
const maxReviews = 32;
const maxWaiting = 1000;

/** `status` of a TokenReview. */
interface ReviewStatus {
  readonly authenticated?: boolean;
  readonly error?: string;
  readonly audiences?: readonly string[];
  readonly user?: {
    readonly username?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
}

interface CachedCaller {
  readonly caller: Caller;
  /** Monotonic. */
  readonly until: number;
}

/**
 * Asks the API server whose a token is. What it said is believed for 10 s, and never past the token's own end. No answer is a
 * refusal (`TOKEN_REVIEW_FAILED`: nothing is known about the token; else `TOKEN_REFUSED`).
 */
export function createTokenReviewVerifier(components: {
  readonly api: Pick<KubernetesApi, "review">;
  readonly clock: Clock;
}): TokenVerifier {
  const { api, clock } = components;
  /** By hash: tokens are secrets, and long. In the order in which they end, or nearly. */
  const cache = new Map<string, CachedCaller>();
  const flights = new Map<string, Promise<Caller>>();
  const slots = new Slots();

  const ask = async (token: string, key: string, expires: number): Promise<Caller> => {
    await slots.take();
    try {
      const caller = callerOf(await review(api, token));
      const leftMs = expires * 1000 - clock.wallTime().getTime();
      if (cache.size >= maxCached) cache.delete(cache.keys().next().value ?? "");
      cache.set(key, { caller, until: clock.now() + Math.min(cacheMs, leftMs) });
      return caller;
    } finally {
      slots.give();
    }
  };

  return {
    verify: async (token) => {
      const expires = readExpiry(token, clock.wallTime());
      const key = createHash("sha256").update(token).digest("base64");
      const held = cache.get(key);
      if (held !== undefined && held.until > clock.now()) return held.caller;
      cache.delete(key);
      let flight = flights.get(key);
      if (flight === undefined) {
        flight = ask(token, key, expires).finally(() => flights.delete(key));
        flights.set(key, flight);
      }
      return await flight;
    },
  };
}

/** What is refused without asking: the API server would say the same, and nobody can make us ask it without end. */
function readExpiry(token: string, now: Date): number {
  if (token.length > maxTokenLength) throw tokenRefused(`it has ${token.length} bytes, more than ${maxTokenLength}`);
  let claims: JWTPayload;
  try {
    claims = decodeJwt(token);
  } catch (cause) {
    throw tokenRefused("it is not a JWT", cause);
  }
  const { aud, exp } = claims;
  if (![aud].flat().includes(audience))
    throw tokenRefused(`it is for audience ${[aud].flat().join(", ")}, not ${audience}`);
  if (typeof exp !== "number") throw tokenRefused("it has no end");
  if (exp * 1000 <= now.getTime()) throw tokenRefused(`it ended at ${new Date(exp * 1000).toISOString()}`);
  return exp;
}

async function review(api: Pick<KubernetesApi, "review">, token: string): Promise<ReviewStatus> {
  const question = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenReview",
    spec: { token, audiences: [audience] },
  };
  try {
    const { status } = await api.review<{ readonly status?: ReviewStatus }>(question);
    return status ?? {};
  } catch (cause) {
    const message = `Token could not be reviewed: ${errorMessage(cause)}`;
    throw new ControlError("TOKEN_REVIEW_FAILED", message, { cause });
  }
}

function callerOf({ authenticated, error, audiences, user }: ReviewStatus): Caller {
  if (authenticated !== true) throw tokenRefused(error ?? "the API server does not know it");
  // A server that does not know of audiences leaves them out, and has not checked any.
  if (audiences?.includes(audience) !== true)
    throw tokenRefused(`the API server says it is for audience ${(audiences ?? []).join(", ")}`);
  if (user?.groups?.includes("system:serviceaccounts") !== true)
    throw tokenRefused(`${user?.username ?? "its user"} is not a service account`);
  const [, namespace, serviceAccount] =
    /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user.username ?? "") ?? ([] as readonly string[]);
  if (namespace === undefined || serviceAccount === undefined)
    throw tokenRefused(`its user name ${user.username ?? ""} is not that of a service account`);
  const name = user.extra?.[podNameKey]?.[0];
  const uid = user.extra?.[podUidKey]?.[0];
  return {
    namespace,
    serviceAccount,
    pod: name === undefined || uid === undefined ? undefined : { name, uid },
  };
}

/** At most 32 reviews at once. */
class Slots {
  #free = maxReviews;
  readonly #waiting: (() => void)[] = [];

  async take(): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    if (this.#waiting.length >= maxWaiting)
      throw new ControlError("TOKEN_REVIEW_FAILED", `Token could not be reviewed: ${maxWaiting} wait already`);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    await promise;
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
