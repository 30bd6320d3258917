import type { MessageInitShape } from "@bufbuild/protobuf";
import { hairpinWaypoint } from "@hairpin/shared/api";
import type { AmbientModel } from "../ambient/ambient-model.ts";
import type { MeshConfig } from "../ambient/mesh-config.ts";
import type { BackendReference } from "../collection/kubernetes-object.ts";
import { buildFilters } from "./filter.ts";
import type { BackendReason, RouteFinding } from "./route-finding.ts";

type BackendInit = MessageInitShape<typeof hairpinWaypoint.BackendSchema>;

export interface BackendContext {
  readonly model: AmbientModel;
  readonly config: MeshConfig;
  readonly routeNamespace: string;
  readonly isGrpc: boolean;
}

/** Resolves one backendRef. An invalid one keeps its weight and carries the reason: its share of requests gets 500. */
export function buildBackend(
  reference: BackendReference,
  context: BackendContext,
  findings: RouteFinding[],
): BackendInit {
  const namespace = reference.namespace ?? context.routeNamespace;
  const hostname = `${reference.name}.${namespace}.svc.${context.config.clusterDomain}`;
  const resolved = resolve(reference, namespace, hostname, context);
  if (resolved.kind === "invalid")
    findings.push({ kind: "backend", reason: resolved.reason, message: resolved.message });
  return {
    namespace,
    hostname,
    port: reference.port ?? 0,
    weight: reference.weight ?? 1,
    filters: buildFilters(reference.filters ?? [], undefined, findings),
    invalidReason: resolved.kind === "invalid" ? `${resolved.reason}: ${resolved.message}` : "",
    protocol: resolved.kind === "valid" ? resolved.protocol : hairpinWaypoint.Protocol.UNKNOWN,
  };
}

type Resolved =
  | { readonly kind: "valid"; readonly protocol: hairpinWaypoint.Protocol }
  | { readonly kind: "invalid"; readonly reason: BackendReason; readonly message: string };

/** Routes of Services may name backends in any namespace without a ReferenceGrant (GAMMA). */
function resolve(
  reference: BackendReference,
  namespace: string,
  hostname: string,
  { model, isGrpc }: BackendContext,
): Resolved {
  const group = reference.group ?? "";
  const kind = reference.kind ?? "Service";
  if ((group !== "" && group !== "core") || kind !== "Service")
    return invalid("InvalidKind", `backendRef ${reference.name} is a ${group}/${kind}: only Service is supported`);
  const service = model.services.get(`${namespace}/${hostname}`);
  if (service?.source.kind !== "Service")
    return invalid("BackendNotFound", `Service ${namespace}/${reference.name} does not exist or is an ExternalName`);
  const port = service.ports.find((candidate) => candidate.port === reference.port);
  if (port === undefined)
    return invalid(
      "BackendNotFound",
      `Service ${namespace}/${reference.name} has no TCP port ${reference.port ?? "(backendRef names none)"}`,
    );
  const declared = service.source.object.spec?.ports?.find((candidate) => candidate.port === port.port)?.appProtocol;
  if (declared === "kubernetes.io/wss")
    return invalid(
      "UnsupportedProtocol",
      `port ${port.port} of ${namespace}/${reference.name} has appProtocol ${declared}`,
    );
  const { Protocol } = hairpinWaypoint;
  if (isGrpc || port.appProtocol === "GRPC") return { kind: "valid", protocol: Protocol.GRPC };
  return { kind: "valid", protocol: port.appProtocol === "HTTP2" ? Protocol.HTTP2 : Protocol.UNKNOWN };
}

function invalid(reason: BackendReason, message: string): Resolved {
  return { kind: "invalid", reason, message };
}
