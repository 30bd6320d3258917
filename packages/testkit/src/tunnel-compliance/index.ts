export { ChannelProbe, largestWriteBytes, sha256, type ChannelEnd } from "./channel-probe.ts";
export { describeTunnelCompliance, skipTunnelCompliance } from "./describe.ts";
export { createMemoryTransport, createTcpTransport, startTcpInterposer, type PairTransport } from "./transport.ts";
export type {
  BreakableTransport,
  EarlyTunnel,
  MakeTunnelPair,
  TunnelEnds,
  TunnelFeature,
  TunnelPair,
  TunnelPairOptions,
  TunnelSide,
  TunnelTraits,
} from "./tunnel-pair.ts";
