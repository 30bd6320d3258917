import type { AppProtocol, IpAddress, LoadBalancing } from "@hairpin/shared/model";
import type { KubernetesService, ServiceEntry } from "../collection/kubernetes-object.ts";

export interface ServicePortRecord {
  readonly name: string;
  readonly port: number;
  /** A number, or the name of a container port. */
  readonly targetPort: number | string;
  readonly appProtocol: AppProtocol;
}

export interface ServiceAddress {
  readonly ip: IpAddress;
  /** Set for ranges. */
  readonly prefixLength?: number;
}

/** One host name that can be called: a Kubernetes Service, or one host of a ServiceEntry. */
export interface ServiceRecord {
  readonly source:
    | { readonly kind: "Service"; readonly object: KubernetesService }
    | { readonly kind: "ServiceEntry"; readonly object: ServiceEntry };
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  /** `namespace/hostname`, the xDS resource name. */
  readonly key: string;
  readonly addresses: readonly ServiceAddress[];
  /** TCP ports only. */
  readonly ports: readonly ServicePortRecord[];
  /** Undefined: endpoints come from elsewhere (EndpointSlices, inline endpoints). */
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly loadBalancing: LoadBalancing;
  readonly ipFamilies: readonly string[];
  readonly subjectAltNames: readonly string[];
}

export const plainLoadBalancing: LoadBalancing = { mode: "STANDARD", routingPreferences: [], allowUnhealthy: false };
