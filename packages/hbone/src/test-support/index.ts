export {
  clientIdentity,
  createHboneDialler,
  hboneTraits,
  serverIdentity,
  startHboneAcceptor,
  testAuthority,
} from "./hbone-proxy.ts";
export { type AcceptingProxy, createProxyPair, type DiallingProxy, type PendingTunnel } from "./proxy-pair.ts";
export { tlsEngines } from "./tls-engines.ts";
