export * from "./log-destination.ts";
export { Displayed, displayed, timestamp } from "./log-format.ts";
export * from "./log-levels.ts";
export * from "./logger.ts";
