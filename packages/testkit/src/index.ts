export * from "./channel-pair.ts";
export * from "./echo-server.ts";
export * from "./eventually.ts";
export * from "./fake-ca-server.ts";
export * from "./fake-xds-server.ts";
export * from "./manual-clock.ts";
export * from "./mesh-fixtures.ts";
export * from "./test-authority.ts";
