import { type Identity, formatSpiffeId, parseSpiffeId } from "@hairpin/shared/model";
import { type MeshConfig, identityOf } from "../ambient/mesh-config.ts";
import { accountOf } from "../ambient/pod.ts";
import type { Pod } from "../collection/kubernetes-object.ts";
import type { Snapshot } from "../collection/snapshot.ts";
import { type Caller, findCallerPod, hasEnded } from "./caller.ts";

/** Which identity a caller may have a certificate for. */
export type GrantDecision =
  | { readonly kind: "granted"; readonly identity: Identity }
  | { readonly kind: "refused"; readonly reason: string };

/**
 * Without `impersonated` the caller gets exactly its own identity. A trusted node agent may name another: that of a service
 * account which has a live pod on the agent's own node (istiod's node authorizer). No name comes from the request's CSR.
 */
export function decideGrant(
  caller: Caller,
  impersonated: string | undefined,
  context: { readonly snapshot: Snapshot; readonly config: MeshConfig },
): GrantDecision {
  const { snapshot, config } = context;
  const { namespace, serviceAccount } = caller;
  const own = identityOf(config, { namespace, serviceAccount });
  if (caller.proof === "certificate") return decideRenewal(own, impersonated, snapshot);
  const found = findCallerPod(caller, snapshot);
  if (found.kind === "refused") return found;
  if (impersonated === undefined) return { kind: "granted", identity: own };

  const trusted = config.trustedNodeAccounts.some(
    (account) => account.namespace === namespace && account.serviceAccount === serviceAccount,
  );
  if (!trusted)
    return refuse(`${namespace}/${serviceAccount} is not a trusted node account and asked for ${impersonated}`);
  let identity: Identity;
  try {
    identity = parseSpiffeId(impersonated);
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
  if (identity.trustDomain !== config.trustDomain)
    return refuse(`${impersonated} is not of trust domain ${config.trustDomain}`);
  if (formatSpiffeId(identity) === formatSpiffeId(own)) return { kind: "granted", identity };
  const node = found.pod.spec?.nodeName ?? "";
  if (node === "") return refuse(`pod ${namespace}/${found.pod.metadata.name} is not on a node yet`);
  const isThere = livePodsOf(identity, snapshot).some((pod) => pod.spec?.nodeName === node);
  if (!isThere) return refuse(`no live pod of ${identity.namespace}/${identity.serviceAccount} is on node ${node}`);
  return { kind: "granted", identity };
}

/**
 * Who has a certificate of ours may have the next one, for itself alone: a certificate does not say which pod holds it, nor on
 * which node. The account must still have a pod: a stolen certificate ends with what it was stolen from.
 */
function decideRenewal(own: Identity, impersonated: string | undefined, snapshot: Snapshot): GrantDecision {
  const name = formatSpiffeId(own);
  if (impersonated !== undefined && impersonated !== name)
    return refuse(`${name} came with a certificate, which allows nobody else's, and asked for ${impersonated}`);
  if (livePodsOf(own, snapshot).length === 0)
    return refuse(`no live pod of ${own.namespace}/${own.serviceAccount}, which came with a certificate`);
  return { kind: "granted", identity: own };
}

function livePodsOf({ namespace, serviceAccount }: Identity, snapshot: Snapshot): readonly Pod[] {
  return snapshot.listIn("Pod", namespace).filter((pod) => accountOf(pod) === serviceAccount && !hasEnded(pod));
}

function refuse(reason: string): GrantDecision {
  return { kind: "refused", reason };
}
