import { createTcpTransport, describeTunnelCompliance, skipTunnelCompliance } from "@hairpin/testkit/tunnel-compliance";
import { hboneTraits, makeHbonePair } from "./test-support/hbone-proxy.ts";
import { libsslMissing, tlsEngines } from "./test-support/tls-engines.ts";

for (const engine of tlsEngines) {
  describeTunnelCompliance(
    `HBONE on ${engine.name}`,
    (options) => makeHbonePair(createTcpTransport(engine), options),
    hboneTraits(),
  );
}

if (libsslMissing !== undefined) skipTunnelCompliance("HBONE on libssl", libsslMissing);
