// What helm cannot do when it uninstalls the chart: take pods out of the mesh while there still is one, then take away what
// control has made. A hook's Job does it before anything of the release goes.

import type { KubernetesApi } from "@hairpin/shared/kubernetes";
import type { Clock } from "@hairpin/shared/process";
import { deleteMade } from "./delete-made.ts";
import { takeBackStatuses } from "./take-back-statuses.ts";
import { whenPodsGone } from "./when-pods-gone.ts";

/** An agent releases its pods, waits 10 s for what is open, and has 30 s in all. */
const agentsTimeoutMs = 120_000;
const controlTimeoutMs = 60_000;

export interface UninstallComponents {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  /** One line for the hook's log. */
  readonly say: (line: string) => void;
}

/**
 * In this order: the webhook, or nobody could change a policy when control has gone; the agents, which release their pods while ztunnel
 * serves them and control tells the others; control, which would mend what goes next; what it has said and made. Whatever has gone already
 * is no error: it can be run again. Rejects when agents or replicas on nodes that are up do not end; nodes that are away are told of
 * and not waited for.
 */
export async function uninstall(
  components: UninstallComponents,
  { rootNamespace: namespace }: { readonly rootNamespace: string },
): Promise<void> {
  const { api, say } = components;
  await api.delete({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    name: `hairpin-validator-${namespace}`,
  });
  await api.delete({ apiVersion: "apps/v1", kind: "DaemonSet", namespace, name: "istio-cni-node" });
  const left = await whenPodsGone(components, { namespace, app: "istio-cni-node", timeoutMs: agentsTimeoutMs });
  say(`agents have left their nodes${left.length === 0 ? "" : `, but for ${left.join(", ")}`}`);
  await api.delete({ apiVersion: "apps/v1", kind: "Deployment", namespace, name: "istiod" });
  await whenPodsGone(components, { namespace, app: "istiod", timeoutMs: controlTimeoutMs });
  say("control has ended");
  await takeBackStatuses(components);
  await deleteMade(components, namespace);
}
