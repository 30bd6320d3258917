import type { TlsContext, TlsEngine } from "@hairpin/wire";
import { type Certificate, createTlsMaterial } from "../identity/index.ts";
import { formatSpiffeId, type Identity } from "../model/index.ts";
import type { Clock } from "../process/index.ts";

/** How long a replaced TLS context is kept for handshakes that have just been given it. */
const contextGraceMs = 5000;

interface CachedContext {
  readonly certificate: Certificate;
  readonly context: TlsContext;
}

/** One TLS context per identity, made anew when the certificate was renewed. */
export class TlsContexts {
  readonly #tls: TlsEngine;
  readonly #clock: Clock;
  readonly #contexts = new Map<string, CachedContext>();

  constructor(tls: TlsEngine, clock: Clock) {
    this.#tls = tls;
    this.#clock = clock;
  }

  /** The context with this certificate. Throws wire's `TLS_BAD_MATERIAL`. */
  contextFor(certificate: Certificate): TlsContext {
    const key = formatSpiffeId(certificate.identity);
    const cached = this.#contexts.get(key);
    if (cached?.certificate === certificate) return cached.context;
    const context = this.#tls.createContext(createTlsMaterial(certificate));
    this.#contexts.set(key, { certificate, context });
    if (cached) this.#retire(cached.context);
    return context;
  }

  forget(identity: Identity): void {
    const key = formatSpiffeId(identity);
    const cached = this.#contexts.get(key);
    this.#contexts.delete(key);
    if (cached) this.#retire(cached.context);
  }

  #retire(context: TlsContext): void {
    this.#clock.setTimer(contextGraceMs, () => context.close(), { background: true });
  }
}
