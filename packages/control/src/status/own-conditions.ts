/** Types of conditions that only control writes: found on an object, they are its own from before. */
export const ownConditionTypes: RegExp =
  /^(?:ZtunnelAccepted|WaypointAccepted|istio\.io\/WaypointBound|hairpin\.mesh\/.*)$/;
