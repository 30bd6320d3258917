export * from "./api-client.ts";
export * from "./api-connection.ts";
export * from "./api-error.ts";
export * from "./kubernetes-api.ts";
export * from "./kubernetes-object.ts";
export { readLines } from "./read-lines.ts";
