export * from "./client-metrics.ts";
export * from "./delta-client-options.ts";
export * from "./delta-server-options.ts";
export * from "./grpc-method.ts";
export * from "./resource-type.ts";
