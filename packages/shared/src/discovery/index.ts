export * from "./choice.ts";
export * from "./mesh-change.ts";
export * from "./mesh-lookup.ts";
