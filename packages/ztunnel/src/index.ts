export { createZtunnel, runZtunnel, type Ztunnel, type ZtunnelComponents } from "./app.ts";
export { podPorts, readConfig, type ZtunnelConfig } from "./config.ts";
export { planInbound, reasonToClose, type InboundPlan } from "./inbound/plan-connection.ts";
export { type OutboundInput, type OutboundPlan, planOutbound } from "./outbound/plan-connection.ts";
