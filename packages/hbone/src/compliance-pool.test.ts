import { createTcpTransport, describeTunnelCompliance, withBusyNeighbours } from "@hairpin/testkit/tunnel-compliance";
import { hboneTraits, makeHbonePair } from "./test-support/hbone-proxy.ts";
import { tlsEngines } from "./test-support/tls-engines.ts";

for (const engine of tlsEngines) {
  describeTunnelCompliance(
    `a pooled session with busy neighbours on ${engine.name}`,
    withBusyNeighbours(
      (options) => makeHbonePair(createTcpTransport(engine), { ...options, maxTunnelsPerSession: 110 }),
      5,
    ),
    hboneTraits(),
  );
}
