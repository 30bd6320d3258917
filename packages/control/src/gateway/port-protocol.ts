import { hairpinWaypoint } from "@hairpin/shared/api";
import type { AppProtocol } from "@hairpin/shared/model";
import type { AmbientModel } from "../ambient/ambient-model.ts";
import type { CoveredPod } from "../ambient/covered-pod.ts";

const { Protocol } = hairpinWaypoint;

export const wireProtocol: Readonly<Record<AppProtocol, hairpinWaypoint.Protocol>> = {
  UNKNOWN: Protocol.UNKNOWN,
  HTTP11: Protocol.HTTP1,
  HTTP2: Protocol.HTTP2,
  GRPC: Protocol.GRPC,
  TCP: Protocol.TCP,
  TLS: Protocol.TLS,
};
const http: ReadonlySet<AppProtocol> = new Set<AppProtocol>(["HTTP11", "HTTP2", "GRPC"]);

export interface PodPortProtocol {
  readonly port: number;
  readonly protocol: hairpinWaypoint.Protocol;
  /** Keys of the services that contradict each other on this port; empty when they agree. */
  readonly disagreeing: readonly string[];
}

/**
 * How to read pod-addressed traffic, by target port, from the services that the pod backs. A service that says nothing has
 * no say; the versions of HTTP agree with each other; other contradictions make it bytes.
 */
export function podPortProtocols(pod: CoveredPod, model: AmbientModel): PodPortProtocol[] {
  const claims = new Map<number, { readonly service: string; readonly protocol: AppProtocol }[]>();
  for (const [key, mappings] of pod.services) {
    const service = model.services.get(key);
    for (const { servicePort, targetPort } of mappings) {
      const protocol = service?.ports.find((port) => port.port === servicePort)?.appProtocol ?? "UNKNOWN";
      if (protocol === "UNKNOWN") continue;
      const held = claims.get(targetPort);
      if (held === undefined) claims.set(targetPort, [{ service: key, protocol }]);
      else held.push({ service: key, protocol });
    }
  }
  return [...claims]
    .sort(([a], [b]) => a - b)
    .map(([port, held]) => {
      const protocols = [...new Set(held.map((claim) => claim.protocol))];
      const [only = "UNKNOWN"] = protocols;
      if (protocols.length === 1) return { port, protocol: wireProtocol[only], disagreeing: [] };
      if (protocols.every((protocol) => http.has(protocol))) return { port, protocol: Protocol.HTTP1, disagreeing: [] };
      const disagreeing = [...new Set(held.map((claim) => claim.service))].sort();
      return { port, protocol: Protocol.TCP, disagreeing };
    });
}
