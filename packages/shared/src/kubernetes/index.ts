export * from "./api-client.ts";
export * from "./api-connection.ts";
export * from "./api-error.ts";
export { createInClusterConnection, serviceAccountFolder } from "./in-cluster.ts";
export * from "./kubernetes-api.ts";
export * from "./kubernetes-object.ts";
export * from "./list-watch.ts";
export { readLines } from "./read-lines.ts";
export { registerWatchMetrics, type WatchMetrics } from "./watch-metrics.ts";
