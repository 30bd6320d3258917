export * from "./clock.ts";
export * from "./component.ts";
export * from "./config-reader.ts";
export * from "./deadline.ts";
export * from "./drain.ts";
export * from "./duration.ts";
export * from "./mesh-error.ts";
export * from "./readiness.ts";
