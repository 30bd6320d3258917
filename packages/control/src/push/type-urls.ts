export const typeUrls = {
  authorization: "type.googleapis.com/istio.security.Authorization",
  address: "type.googleapis.com/istio.workload.Address",
  waypoint: "type.googleapis.com/hairpin.waypoint.v1.Waypoint",
  waypointService: "type.googleapis.com/hairpin.waypoint.v1.Service",
  waypointWorkload: "type.googleapis.com/hairpin.waypoint.v1.Workload",
} as const;

/** One waypoint's own resources. */
export const waypointTypeUrls: readonly string[] = [
  typeUrls.waypoint,
  typeUrls.waypointService,
  typeUrls.waypointWorkload,
];

/** Policies before what lists them; a waypoint's configuration before the addresses that lead to it. */
export const pushOrder: readonly string[] = [typeUrls.authorization, ...waypointTypeUrls, typeUrls.address];

/** The scope that every node agent and waypoint sees. */
export const meshScope = "mesh";
