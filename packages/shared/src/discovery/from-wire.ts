/** Protobuf of the Workload API → model. The reverse is to-wire.ts. */
import { fromBinary } from "@bufbuild/protobuf";
import { istioSecurity, istioWorkload } from "../api/index.ts";
import type { ResourceType } from "../xds/index.ts";

export { bindingExtension, bindingFromWire, enforcementExtension, enforcementFromWire } from "./extension-from-wire.ts";
export { policyFromWire } from "./policy-from-wire.ts";
export { serviceFromWire } from "./service-from-wire.ts";
export { WireError } from "./wire-values.ts";
export { defaultWireDefaults, type WireDefaults, workloadFromWire } from "./workload-from-wire.ts";

/** WDS: workloads and services. */
export const addressType: ResourceType<istioWorkload.Address> = {
  typeUrl: "type.googleapis.com/istio.workload.Address",
  decode: (bytes) => fromBinary(istioWorkload.AddressSchema, bytes),
};

/** WADS: L4 policies. */
export const authorizationType: ResourceType<istioSecurity.Authorization> = {
  typeUrl: "type.googleapis.com/istio.security.Authorization",
  decode: (bytes) => fromBinary(istioSecurity.AuthorizationSchema, bytes),
};
