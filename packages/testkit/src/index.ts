export * from "./fake-xds-server.ts";
export * from "./mesh-fixtures.ts";
