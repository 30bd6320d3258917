import type { Snapshot } from "../collection/snapshot.ts";
import type { Pod } from "../collection/kubernetes-object.ts";
import { accountOf } from "../ambient/pod.ts";
import { ControlError } from "../errors.ts";

/** Who a token or a certificate proves its bearer to be. */
export interface Caller {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** A certificate says nothing of a pod. Default: a token. */
  readonly proof?: "token" | "certificate";
  /** The pod that the token is bound to; undefined for tokens without. */
  readonly pod: { readonly name: string; readonly uid: string } | undefined;
}

/** Reads bearer tokens. Local tokens are verified by key; a cluster's by TokenReview. */
export interface TokenVerifier {
  /** Rejects with an error that says why; its text is for our log, not for the caller. */
  verify(token: string): Promise<Caller>;
}

/** `reason` is for our log; the caller only learns that it was refused. */
export function tokenRefused(reason: string, cause?: unknown): ControlError {
  return new ControlError("TOKEN_REFUSED", `Token refused: ${reason}`, { cause, origin: "downstream" });
}

/** The live pod that a caller runs in: a token outlives its pod, and names are used again. */
export type CallerPod =
  | { readonly kind: "found"; readonly pod: Pod }
  | { readonly kind: "refused"; readonly reason: string };

export function findCallerPod(caller: Caller, snapshot: Snapshot): CallerPod {
  const refuse = (reason: string): CallerPod => ({ kind: "refused", reason });
  if (caller.pod === undefined) return refuse("the token is not bound to a pod");
  const name = `${caller.namespace}/${caller.pod.name}`;
  const pod = snapshot.find("Pod", caller.namespace, caller.pod.name);
  if (pod === undefined) return refuse(`pod ${name} does not exist`);
  if (pod.metadata.uid !== caller.pod.uid)
    return refuse(`pod ${name} has uid ${pod.metadata.uid ?? "(none)"}, the token was made for ${caller.pod.uid}`);
  if (accountOf(pod) !== caller.serviceAccount)
    return refuse(`pod ${name} runs as ${accountOf(pod)}, the token is for ${caller.serviceAccount}`);
  if (hasEnded(pod)) return refuse(`pod ${name} has ended`);
  return { kind: "found", pod };
}

export function hasEnded(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}
