export type { Fault, RequestMatch, Verb } from "./fault.ts";
export { type ServedKind, builtInKinds, gatewayApiKinds, istioKinds } from "./served-kind.ts";
export { FakeApiServer, type ReceivedRequest } from "./server.ts";
export type { StoredObject } from "./stored-object.ts";
