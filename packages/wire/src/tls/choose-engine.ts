import { WireError } from "../errors.ts";
import type { TlsEngine } from "./engine.ts";
import { createLibsslEngine } from "./libssl.ts";
import { createNodeTlsEngine } from "./node-tls.ts";
import { probeLibssl } from "./probe-libssl.ts";

/** `auto`: libssl where it works, else node:tls. */
export type TlsEnginePreference = "auto" | TlsEngine["name"];

export interface TlsEngineChoice {
  readonly engine: TlsEngine;
  /** Why this one, as a sentence for operators. */
  readonly reason: string;
  /** True: libssl was wanted and cannot be used. */
  readonly isFallback: boolean;
}

/**
 * Chooses the engine of this thread; each worker chooses for itself. Takes 3 ms. Throws `TLS_ENGINE_UNAVAILABLE` when libssl
 * is demanded and does not work.
 *
 * @param probe throws why libssl cannot be used.
 */
export function chooseTlsEngine(preference: TlsEnginePreference, probe: () => void = probeLibssl): TlsEngineChoice {
  if (preference === "node-tls")
    return { engine: createNodeTlsEngine(), reason: "it was asked for", isFallback: false };
  try {
    probe();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (preference === "libssl")
      throw new WireError(
        "TLS_ENGINE_UNAVAILABLE",
        `TLS engine libssl was asked for and does not work here: ${reason}`,
        {
          cause: error,
        },
      );
    return { engine: createNodeTlsEngine(), reason: `libssl does not work here: ${reason}`, isFallback: true };
  }
  const reason = preference === "auto" ? "its handshake in memory succeeded" : "it was asked for, and works";
  return { engine: createLibsslEngine(), reason, isFallback: false };
}
