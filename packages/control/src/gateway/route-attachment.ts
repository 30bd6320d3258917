// Which routes apply to which ports of which services, and what each parentRef of each route came to.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { byAge } from "../ambient/age.ts";
import type { AmbientModel } from "../ambient/ambient-model.ts";
import { type Problem, buildEach } from "../ambient/build-each.ts";
import type { MeshConfig } from "../ambient/mesh-config.ts";
import type { ServiceRecord } from "../ambient/service-record.ts";
import type { KubernetesObject, ParentReference } from "../collection/kubernetes-object.ts";
import type { Snapshot } from "../collection/snapshot.ts";
import { type AnyRoute, type BuiltRules, buildRules } from "./route-rule.ts";

type RouteInit = MessageInitShape<typeof hairpinWaypoint.RouteSchema>;

export interface RouteParent {
  readonly reference: ParentReference;
  /** Services that the reference names; empty when it resolves to nothing. */
  readonly services: readonly ServiceRecord[];
  readonly outcome: "attached" | "no-matching-parent" | "conflicted";
  /** Why not attached. */
  readonly message: string;
}

export interface AttachedRoute {
  readonly route: AnyRoute;
  readonly built: BuiltRules;
  /** Parents that are this mesh's affair. */
  readonly parents: readonly RouteParent[];
}

export interface RouteAttachments {
  readonly routes: readonly AttachedRoute[];
  /** In the order of precedence among equal matches: the oldest first, then by name. */
  routesOf(serviceKey: string, port: number): readonly RouteInit[];
}

/** Of several kinds on one port only the most specific counts (GEP-1426). */
const kindOrder: readonly AnyRoute["kind"][] = ["GRPCRoute", "HTTPRoute", "TCPRoute"];
const wireKind: Readonly<Record<AnyRoute["kind"], hairpinWaypoint.RouteKind>> = {
  HTTPRoute: hairpinWaypoint.RouteKind.HTTP_ROUTE,
  GRPCRoute: hairpinWaypoint.RouteKind.GRPC_ROUTE,
  TCPRoute: hairpinWaypoint.RouteKind.TCP_ROUTE,
};

interface Claim {
  readonly route: AnyRoute;
  readonly built: BuiltRules;
  readonly reference: ParentReference;
  readonly service: ServiceRecord;
  readonly port: number;
  /** "" for a producer route, else the consumer's namespace: sets that do not mix. */
  readonly set: string;
}

export function attachRoutes(
  snapshot: Snapshot,
  model: AmbientModel,
  config: MeshConfig,
  problems: Problem[],
): RouteAttachments {
  const routes: AnyRoute[] = [
    ...snapshot.list("HTTPRoute").map((object) => ({ kind: "HTTPRoute" as const, object })),
    ...snapshot.list("GRPCRoute").map((object) => ({ kind: "GRPCRoute" as const, object })),
    ...snapshot.list("TCPRoute").map((object) => ({ kind: "TCPRoute" as const, object })),
  ].sort((a, b) => byAge(a.object, b.object));
  const candidates = routes.flatMap((route) =>
    buildEach([route.object as KubernetesObject], problems, () => candidateOf(route, model, config)),
  );
  const claims = candidates.flatMap((candidate) => candidate.claims);
  const byPort = Map.groupBy(claims, (claim) => `${claim.service.key}|${claim.port}`);
  const kept = new Set([...byPort.values()].flatMap(keepMostSpecific));
  return {
    routes: candidates.map(({ route, built, parents, claims: own }) => ({
      route,
      built,
      parents: parents.map((parent) => settle(parent, own, kept)),
    })),
    routesOf: (serviceKey, port) =>
      (byPort.get(`${serviceKey}|${port}`) ?? []).filter((claim) => kept.has(claim)).map(toInit),
  };
}

interface Candidate {
  readonly route: AnyRoute;
  readonly built: BuiltRules;
  readonly parents: readonly RouteParent[];
  readonly claims: readonly Claim[];
}

function candidateOf(route: AnyRoute, model: AmbientModel, config: MeshConfig): Candidate {
  const namespace = route.object.metadata.namespace ?? "";
  const built = buildRules(route, { model, config, routeNamespace: namespace, isGrpc: route.kind === "GRPCRoute" });
  const parents: RouteParent[] = [];
  const claims: Claim[] = [];
  for (const reference of route.object.spec?.parentRefs ?? []) {
    const parent = resolveParent(reference, namespace, model, config);
    if (parent === undefined) continue;
    const own = parent.services.flatMap((service) =>
      service.ports
        .filter(({ port, name }) => (reference.port ?? port) === port && (reference.sectionName ?? name) === name)
        .map(({ port }) => {
          const set = namespace === service.namespace ? "" : namespace;
          return { route, built, reference, service, port, set };
        }),
    );
    claims.push(...own);
    if (parent.services.length > 0 && own.length === 0)
      parents.push({ ...parent, outcome: "no-matching-parent", message: missingPort(reference, parent.services) });
    else parents.push(parent);
  }
  return { route, built, parents, claims };
}

/** Undefined for Gateways that other controllers answer for. */
function resolveParent(
  reference: ParentReference,
  routeNamespace: string,
  model: AmbientModel,
  config: MeshConfig,
): RouteParent | undefined {
  const group = reference.group ?? "gateway.networking.k8s.io";
  const kind = reference.kind ?? "Gateway";
  const namespace = reference.namespace ?? routeNamespace;
  const missing = (message: string): RouteParent => ({
    reference,
    services: [],
    outcome: "no-matching-parent",
    message,
  });
  if ((group === "" || group === "core") && kind === "Service") {
    const service = model.services.get(`${namespace}/${reference.name}.${namespace}.svc.${config.clusterDomain}`);
    if (service === undefined) return missing(`Service ${namespace}/${reference.name} does not exist`);
    return { reference, services: [service], outcome: "attached", message: "" };
  }
  if (group === "networking.istio.io" && kind === "ServiceEntry") {
    const services = [...model.services.values()].filter(
      ({ source, name, namespace: of }) =>
        source.kind === "ServiceEntry" && name === reference.name && of === namespace,
    );
    if (services.length === 0) return missing(`ServiceEntry ${namespace}/${reference.name} does not exist`);
    return { reference, services, outcome: "attached", message: "" };
  }
  if (kind !== "Gateway") return missing(`a route cannot have a ${group}/${kind} as its parent`);
  const gateway = model.waypoints.get(`${namespace}/${reference.name}`);
  if (gateway === undefined) return missing(`Gateway ${namespace}/${reference.name} does not exist`);
  if (!gateway.owned) return undefined;
  return missing(`Gateway ${gateway.key} is a waypoint: name the Service as the parent (group "", kind Service)`);
}

function missingPort(reference: ParentReference, services: readonly ServiceRecord[]): string {
  const wanted = [
    ...(reference.port === undefined ? [] : [`port ${reference.port}`]),
    ...(reference.sectionName === undefined ? [] : [`port name ${reference.sectionName}`]),
  ].join(" and ");
  const names = services.map((service) => `${service.namespace}/${service.name}`).join(", ");
  return wanted === "" ? `${names} has no TCP port` : `${names} has no TCP port with ${wanted}`;
}

function keepMostSpecific(claims: readonly Claim[]): Claim[] {
  return [...Map.groupBy(claims, (claim) => claim.set).values()].flatMap((set) => {
    const kind = kindOrder.find((candidate) => set.some((claim) => claim.route.kind === candidate));
    return set.filter((claim) => claim.route.kind === kind);
  });
}

function settle(parent: RouteParent, claims: readonly Claim[], kept: ReadonlySet<Claim>): RouteParent {
  const own = claims.filter((claim) => claim.reference === parent.reference);
  if (parent.outcome !== "attached" || own.some((claim) => kept.has(claim))) return parent;
  const message = "a route of a more specific kind (GRPCRoute > HTTPRoute > TCPRoute) applies to the same ports";
  return { ...parent, outcome: "conflicted", message };
}

function toInit({ route, built, set }: Claim): RouteInit {
  return {
    kind: wireKind[route.kind],
    namespace: route.object.metadata.namespace ?? "",
    name: route.object.metadata.name,
    rules: [...built.rules],
    onlyFromNamespace: set,
  };
}
