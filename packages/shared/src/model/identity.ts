/** A workload's SPIFFE identity in Istio's form, `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. */
export interface Identity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

const trustDomainPattern = /^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$/;
/** Kubernetes' names are lower case: an id that differs from a workload's by case only is nobody's. */
const segmentPattern = /^[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?$/;

/**
 * Reads a SPIFFE ID byte for byte: no percent-encoding, port, user, query, empty or dot segment is accepted
 * (SPIFFE-ID §2, plus Istio's fixed path). Throws `Error` that names the text and what is wrong.
 */
export function parseSpiffeId(text: string): Identity {
  if (text.length > 2048) throw new Error(`SPIFFE ID of ${text.length} bytes is longer than 2048`);
  const match = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(text);
  if (!match)
    throw new Error(`SPIFFE ID ${JSON.stringify(text)} is not spiffe://<trust domain>/ns/<namespace>/sa/<name>`);
  const [, trustDomain = "", namespace = "", serviceAccount = ""] = match;
  if (!trustDomainPattern.test(trustDomain))
    throw new Error(`SPIFFE ID ${JSON.stringify(text)} has a bad trust domain`);
  if (!segmentPattern.test(namespace)) throw new Error(`SPIFFE ID ${JSON.stringify(text)} has a bad namespace`);
  if (!segmentPattern.test(serviceAccount))
    throw new Error(`SPIFFE ID ${JSON.stringify(text)} has a bad service account`);
  return { trustDomain, namespace, serviceAccount };
}

/** With the scheme: `spiffe://cluster.local/ns/a/sa/b`. */
export function formatSpiffeId(identity: Identity): string {
  return `spiffe://${formatPrincipal(identity)}`;
}

/** As policies write it, without the scheme: `cluster.local/ns/a/sa/b`. */
export function formatPrincipal(identity: Identity): string {
  return `${identity.trustDomain}/ns/${identity.namespace}/sa/${identity.serviceAccount}`;
}

export function equalIdentity(a: Identity | undefined, b: Identity | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.serviceAccount === b.serviceAccount && a.namespace === b.namespace && a.trustDomain === b.trustDomain;
}
