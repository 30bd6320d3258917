export * from "./address.ts";
export * from "./authorization.ts";
export * from "./hostname.ts";
export * from "./identity.ts";
export * from "./locality.ts";
export * from "./service.ts";
export * from "./waypoint.ts";
export * from "./workload.ts";
