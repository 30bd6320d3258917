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
export { formatHairpinSource, parseHairpinSource, type HairpinSource } from "./hairpin-source.ts";
export { relay, type RelayCounters, type RelayResult } from "./relay.ts";
