import { createTcpTransport, describeTunnelCompliance } from "@hairpin/testkit/tunnel-compliance";
import { hboneTraits, makeHbonePair } from "./test-support/hbone-proxy.ts";
import { tlsEngines } from "./test-support/tls-engines.ts";

for (const engine of tlsEngines) {
  describeTunnelCompliance(
    `HBONE on ${engine.name}`,
    (options) => makeHbonePair(createTcpTransport(engine), options),
    hboneTraits(),
  );
}
