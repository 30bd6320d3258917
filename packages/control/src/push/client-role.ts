import type { StreamCredentials, XdsNode, XdsPeer } from "@hairpin/shared/xds";
import type { MeshConfig } from "../ambient/mesh-config.ts";
import { gatewayNameLabel, waypointAccount } from "../ambient/waypoint/waypoint-record.ts";
import { readBearer } from "../authority/bearer.ts";
import { type Caller, type TokenVerifier, findCallerPod } from "../authority/caller.ts";
import { label } from "../collection/label-match.ts";
import type { ObjectCollection } from "../collection/object-collection.ts";
import type { Snapshot } from "../collection/snapshot.ts";
import { ControlError } from "../errors.ts";
import { meshScope, typeUrls, waypointTypeUrls } from "./type-urls.ts";

/** Who an xDS client is, by its token; never by what it says. */
export interface ClientRole {
  readonly caller: Caller;
  readonly podName: string;
  readonly podUid: string;
  /** "": not scheduled. */
  readonly node: string;
  /** The Gateway (`namespace/name`) that it is a replica of; undefined for node agents. */
  readonly waypointKey: string | undefined;
}

/** Only node agents and waypoint replicas have a use for the mesh's model; nobody else gets it. */
export function findClientRole(
  caller: Caller,
  snapshot: Snapshot,
  config: MeshConfig,
): { readonly kind: "found"; readonly role: ClientRole } | { readonly kind: "refused"; readonly reason: string } {
  const found = findCallerPod(caller, snapshot);
  if (found.kind === "refused") return found;
  const { pod } = found;
  const role = {
    caller,
    podName: pod.metadata.name,
    podUid: pod.metadata.uid ?? "",
    node: pod.spec?.nodeName ?? "",
  };
  const isAgent = config.trustedNodeAccounts.some(
    ({ namespace, serviceAccount }) => namespace === caller.namespace && serviceAccount === caller.serviceAccount,
  );
  if (isAgent) return { kind: "found", role: { ...role, waypointKey: undefined } };
  const refuse = (reason: string): { kind: "refused"; reason: string } => ({ kind: "refused", reason });
  const gatewayName = label(pod, gatewayNameLabel);
  if (gatewayName === undefined)
    return refuse(`pod ${caller.namespace}/${role.podName} is neither a node agent nor a waypoint`);
  const gateway = snapshot.find("Gateway", caller.namespace, gatewayName);
  if (gateway === undefined) return refuse(`Gateway ${caller.namespace}/${gatewayName} does not exist`);
  // Anybody who may create pods in the namespace can set the label, but not run as the waypoint's account.
  if (waypointAccount(gateway) !== caller.serviceAccount)
    return refuse(
      `Gateway ${caller.namespace}/${gatewayName} runs as ${waypointAccount(gateway)}, not as ${caller.serviceAccount}`,
    );
  return { kind: "found", role: { ...role, waypointKey: `${caller.namespace}/${gatewayName}` } };
}

export function createAuthenticator(
  components: { readonly tokens: TokenVerifier; readonly objects: ObjectCollection },
  config: MeshConfig,
): (credentials: StreamCredentials) => Promise<ClientRole> {
  const { tokens, objects } = components;
  return async (credentials) => {
    const caller = await tokens.verify(readBearer(credentials.metadata("authorization")));
    const found = findClientRole(caller, objects.snapshot(), config);
    if (found.kind === "refused") throw new ControlError("TOKEN_REFUSED", found.reason, { origin: "downstream" });
    return found.role;
  };
}

/** What a client says of itself must not contradict its token. */
export function checkNode(role: ClientRole, node: XdsNode): string | undefined {
  const { metadata } = node;
  const claims: readonly (readonly [string, string])[] = [
    ["NAMESPACE", role.caller.namespace],
    ["NAME", role.podName],
    ["SERVICE_ACCOUNT", role.caller.serviceAccount],
    ["NODE_NAME", role.node],
  ];
  const wrong = claims.find(
    ([key, value]) => metadata[key] !== undefined && metadata[key] !== "" && metadata[key] !== value,
  );
  if (wrong === undefined) return undefined;
  const [key, value] = wrong;
  return `node metadata ${key} is ${JSON.stringify(metadata[key])}, the token says ${JSON.stringify(value)}`;
}

/** A waypoint's resources go to its own replicas alone. */
export function scopeOf(peer: XdsPeer<ClientRole>, typeUrl: string): string | undefined {
  if (waypointTypeUrls.includes(typeUrl)) return peer.principal.waypointKey;
  return typeUrl === typeUrls.address || typeUrl === typeUrls.authorization ? meshScope : undefined;
}

/** On-demand clients always get the workloads of their own node. */
export function impliedNames(peer: XdsPeer<ClientRole>, typeUrl: string): readonly string[] {
  return typeUrl === typeUrls.address ? [nodeFollowName(peer.principal.node)] : [];
}

export function nodeFollowName(node: string): string {
  return `node/${node}`;
}
