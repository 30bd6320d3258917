import { createTcpTransport, describeTunnelCompliance } from "@hairpin/testkit/tunnel-compliance";
import { createNodeTlsEngine } from "@hairpin/wire";
import { hboneTraits, makeHbonePair } from "./test-support/hbone-proxy.ts";

describeTunnelCompliance(
  "HBONE on node:tls",
  (options) => makeHbonePair(createTcpTransport(createNodeTlsEngine()), options),
  hboneTraits(),
);
