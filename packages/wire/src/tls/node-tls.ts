import type { TlsEngine } from "./engine.ts";

/** The engine over node:tls. Its contexts are shared by all connections of one certificate. */
export function createNodeTlsEngine(): TlsEngine {
  throw new Error("not available yet");
}
