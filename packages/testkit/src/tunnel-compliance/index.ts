export { withBusyNeighbours } from "./busy-pair.ts";
export { ChannelProbe, largestWriteBytes, sha256, type ChannelEnd } from "./channel-probe.ts";
export { describeTunnelCompliance, skipTunnelCompliance } from "./describe.ts";
export { http2StreamChannel } from "./http2-stream-channel.ts";
export {
  createMemoryTransport,
  createTcpTransport,
  startTcpInterposer,
  type PairTransport,
  type TcpInterposer,
} from "./transport.ts";
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
