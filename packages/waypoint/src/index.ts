export { createWaypoint, type Waypoint, type WaypointComponents } from "./app.ts";
export type { WaypointSettings } from "./config.ts";
