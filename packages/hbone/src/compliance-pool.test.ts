import { createTcpTransport, describeTunnelCompliance, withBusyNeighbours } from "@hairpin/testkit/tunnel-compliance";
import { createNodeTlsEngine } from "@hairpin/wire";
import { hboneTraits, makeHbonePair } from "./test-support/hbone-proxy.ts";

describeTunnelCompliance(
  "a pooled session with busy neighbours",
  withBusyNeighbours(
    (options) => makeHbonePair(createTcpTransport(createNodeTlsEngine()), { ...options, maxTunnelsPerSession: 110 }),
    5,
  ),
  hboneTraits(),
);
