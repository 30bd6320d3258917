import { chooseTlsEngine, createNodeTlsEngine, type TlsEngine } from "@hairpin/wire";

const choice = chooseTlsEngine("auto");

/** The compliance suites run over each of these. */
export const tlsEngines: readonly TlsEngine[] = choice.isFallback
  ? [choice.engine]
  : [choice.engine, createNodeTlsEngine()];

/** Why libssl is not among them. */
export const libsslMissing: string | undefined = choice.isFallback ? choice.reason : undefined;
