export * as envoyDiscovery from "./gen/envoy/discovery_pb.ts";
export * as hairpinEnforcement from "./gen/hairpin/enforcement_pb.ts";
export * as hairpinWaypoint from "./gen/hairpin/waypoint_pb.ts";
export * as istioCa from "./gen/istio/ca_pb.ts";
export * as istioSecurity from "./gen/istio/security_pb.ts";
export * as istioWorkload from "./gen/istio/workload_pb.ts";
export * as istioZds from "./gen/istio/zds_pb.ts";
