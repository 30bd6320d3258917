import { createLibsslEngine, createNodeTlsEngine, type TlsEngine } from "@hairpin/wire";

/** Every attack is made on each of these. */
export const engines: readonly TlsEngine[] = [createNodeTlsEngine(), createLibsslEngine()];
