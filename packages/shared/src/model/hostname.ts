/** A host name and the namespace that owns it: the key of services, written `namespace/hostname`. */
export interface NamespacedHostname {
  readonly namespace: string;
  readonly hostname: string;
}

export function formatNamespacedHostname(name: NamespacedHostname): string {
  return `${name.namespace}/${name.hostname}`;
}

/** The name of a Kubernetes Service in the cluster's DNS: `reviews.default.svc.cluster.local`. */
export function serviceHostname(name: string, namespace: string, clusterDomain: string): string {
  return `${name}.${namespace}.svc.${clusterDomain}`;
}
