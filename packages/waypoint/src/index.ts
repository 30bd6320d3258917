export { createWaypoint, type Waypoint, type WaypointComponents } from "./app.ts";
export type { WaypointSettings } from "./config.ts";
export { HttpUpstreams } from "./forward/http-upstreams.ts";
export { EndpointDenies } from "./policy/endpoint-denies.ts";
export { type ClientConnection, type HttpServerComponents, serveHttp } from "./serve-http.ts";
export { RequestReporter } from "./telemetry/request-reporter.ts";
export { TrafficMetrics } from "./telemetry/traffic-metrics.ts";
export { WaypointConfig } from "./waypoint-config.ts";
