export * from "./client-metrics.ts";
export { createDeltaXdsClient } from "./delta-client.ts";
export * from "./delta-client-options.ts";
export { createDeltaXdsServer } from "./delta-server.ts";
export * from "./delta-server-options.ts";
export type { XdsErrorCode } from "./errors.ts";
export * from "./grpc-method.ts";
export * from "./listen-grpc.ts";
export * from "./resource-type.ts";
