export { type ControlComponents, type RunningControl, runControl, startControl } from "./app.ts";
export type { Caller, TokenVerifier } from "./authority/caller.ts";
export type { KubernetesObject } from "./collection/kubernetes-object.ts";
export { ObjectCollection } from "./collection/object-collection.ts";
export { type ControlConfig, type SourceConfig, readConfig } from "./config.ts";
export { type ListSource, type ListSourceOptions, createListSource } from "./source/list-source.ts";
export type { ObjectSource } from "./source/object-source.ts";
export { type StatusSink, type StatusWrite, statusManager } from "./status/status-writer.ts";
