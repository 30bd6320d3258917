// The files that make a pod's name and DNS its own. Pure.

import type { Pod } from "../object/kubernetes-object.ts";

export interface DnsFacts {
  readonly nameservers: readonly string[];
  readonly clusterDomain: string;
}

export function resolvConf(namespace: string, { nameservers, clusterDomain }: DnsFacts): string {
  const search = [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
  return [`search ${search.join(" ")}`, ...nameservers.map((ip) => `nameserver ${ip}`), "options ndots:5", ""].join(
    "\n",
  );
}

export function hostsFile(pod: Pod, podIps: readonly string[]): string {
  const aliases = (pod.spec?.hostAliases ?? []).map(({ ip, hostnames = [] }) => `${ip}\t${hostnames.join("\t")}`);
  return [
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    ...podIps.map((ip) => `${ip}\t${hostnameOf(pod)}`),
    ...aliases,
    "",
  ].join("\n");
}

/** Host names have at most 63 characters. */
export function hostnameOf(pod: Pod): string {
  return (pod.spec?.hostname ?? pod.metadata.name).slice(0, 63).replace(/[-.]+$/, "");
}
