// What the replicas of control agreed on about roots and issuer, as a Secret: it holds the key of an issuer whose own Secret may have
// been replaced already.

import type { Clock } from "@hairpin/shared/process";
import { ControlError } from "../errors.ts";
import type { Secret } from "./ca-secret.ts";
import { type TransitionState, type TrustedRoot, bundleOf } from "./root-transition.ts";
import { createSigningAuthority } from "./signing-authority.ts";

export const stateSecretName = "hairpin-ca-state";
const stateKey = "state.json";

export function buildStateSecret(namespace: string, { signing, roots }: TransitionState): Secret {
  const text = JSON.stringify({ signing, roots });
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: stateSecretName, namespace, labels: { "istio.io/config": "true" } },
    type: "hairpin.mesh/ca-state",
    data: { [stateKey]: Buffer.from(text).toString("base64") },
  };
}

/** Throws `CA_SECRET_INVALID` when it is not what {@link buildStateSecret} writes; deleting it forgets an earlier CA at once. */
export function readStateSecret({ data, metadata }: Secret, clock: Clock): TransitionState {
  try {
    const value: unknown = JSON.parse(Buffer.from(data?.[stateKey] ?? "", "base64").toString("utf8"));
    const { signing, roots } = value as TransitionState;
    const state = { signing, roots: roots.map(readRoot) };
    createSigningAuthority(state.signing, bundleOf(state), clock);
    return state;
  } catch (cause) {
    const message = `Secret ${metadata.namespace ?? ""}/${metadata.name} cannot be read; delete it to begin with the configured CA`;
    throw new ControlError("CA_SECRET_INVALID", message, { cause });
  }
}

function readRoot({ pem, introducedAt, retiresAt }: TrustedRoot): TrustedRoot {
  if (!Number.isFinite(introducedAt) || (retiresAt !== undefined && !Number.isFinite(retiresAt)))
    throw new Error("a root has no date");
  return { pem, introducedAt, ...(retiresAt === undefined ? {} : { retiresAt }) };
}
