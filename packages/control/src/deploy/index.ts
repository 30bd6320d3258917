export { gatewayNameLabel, managedLabel } from "../ambient/waypoint/waypoint-record.ts";
export type { AppliedObject, EnvironmentVariable } from "./applied-object.ts";
export {
  credentialMounts,
  credentialVolumes,
  type CredentialPaths,
  proxyEnvironment,
  rootCertConfigMap,
  rootCertKey,
} from "./proxy-pod.ts";
export { describeWaypoint } from "./waypoint-status.ts";
export { buildRootConfigMap } from "./root-config-map.ts";
export { buildWaypoint, isDeployedGateway, type WaypointGateway, type WaypointRuntime } from "./waypoint-objects.ts";
