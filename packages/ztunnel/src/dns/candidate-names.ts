/** Which names of the mesh a pod may mean by the name that it asks for (ztunnel.md §9). Pure. */

/** One name to look for. */
export interface CandidateName {
  readonly name: string;
  /** The asked name without the search domain that the pod's resolver added, when that is how we came to this name. */
  readonly stripped: string | undefined;
}

/**
 * In the order in which they are tried, each once: the name itself; what Kubernetes would make of it by search domains;
 * then the same for what is left when a search domain of the pod is taken off. `name` and `clusterDomain` are in lower
 * case and without final dot.
 */
export function* candidateNames(name: string, namespace: string, clusterDomain: string): Generator<CandidateName> {
  const tried = new Set<string>();
  const serviceDomain = `svc.${clusterDomain}`;
  const searchDomains = [`${namespace}.${serviceDomain}`, serviceDomain, clusterDomain];
  for (const stripped of [undefined, ...searchDomains.map((domain) => stripDomain(name, domain))]) {
    if (stripped === "") continue;
    const base = stripped ?? name;
    for (const candidate of [base, ...expandName(base, namespace, clusterDomain)]) {
      if (tried.has(candidate)) continue;
      tried.add(candidate);
      yield { name: candidate, stripped };
    }
  }
}

/** A name, then the wildcard host names that cover it, the narrowest first: `a.b.c`, `*.b.c`, `*.c`. */
export function* withWildcards(name: string): Generator<string> {
  yield name;
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
    const wildcard = `*${name.slice(dot)}`;
    // The name itself is asked for as a wildcard.
    if (wildcard !== name) yield wildcard;
  }
}

/** What a short name of a Kubernetes Service may stand for. */
function expandName(name: string, namespace: string, clusterDomain: string): readonly string[] {
  const serviceDomain = `svc.${clusterDomain}`;
  const labels = name.split(".");
  const endsInSvc = labels.at(-1) === "svc";
  switch (labels.length) {
    case 1:
      return [`${name}.${namespace}.${serviceDomain}`];
    case 2:
      return [`${name}.${serviceDomain}`, `${name}.${namespace}.${serviceDomain}`];
    case 3:
      return endsInSvc ? [`${name}.${clusterDomain}`, `${name}.${serviceDomain}`] : [`${name}.${serviceDomain}`];
    case 4:
      return endsInSvc ? [`${name}.${clusterDomain}`] : [];
    default:
      return [];
  }
}

/** Empty when nothing is left, or the name is not below the domain. */
function stripDomain(name: string, domain: string): string {
  return name.endsWith(`.${domain}`) ? name.slice(0, -domain.length - 1) : "";
}
