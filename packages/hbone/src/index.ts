export {
  connectHeader,
  formatBaggage,
  formatConnectAuthority,
  formatForwarded,
  parseBaggage,
  parseConnectAuthority,
  parseForwarded,
  type ConnectAuthority,
  type Forwarded,
  type WorkloadBaggage,
} from "./connect-request.ts";
export { HboneError, type HboneErrorCode } from "./errors.ts";
export { FrameTimers, type FrameTimerOptions, type LateFrame } from "./frame-timers.ts";
export { formatHairpinSource, parseHairpinSource, type HairpinSource } from "./hairpin-source.ts";
export { connectHbone, type HboneClient, type HboneClientOptions } from "./node-client.ts";
export {
  defaultFrameTimerOptions,
  defaultTunnelDialerOptions,
  defaultTunnelListenerOptions,
  inboundHttp2Options,
  outboundHttp2Options,
  type SessionWatchOptions,
  type TunnelDialerOptions,
  type TunnelListenerOptions,
} from "./options.ts";
export { createTunnelResetBudgets, ResetBudgets, type BudgetHolder } from "./reset-budgets.ts";
export { SessionMetrics, type SessionKind, type SessionSide } from "./session-metrics.ts";
export { relay, type RelayCounters, type RelayResult } from "./relay.ts";
export { TunnelDialer, type TunnelDialerComponents, type TunnelTarget } from "./tunnel-dialer.ts";
export {
  acceptTunnelSession,
  type AcceptRequest,
  type InboundConnect,
  type InboundTunnelSession,
  type TunnelListenerComponents,
} from "./tunnel-listener.ts";
export type { ConnectRequest } from "./tunnel-session.ts";
export type { Tunnel } from "./tunnel.ts";
