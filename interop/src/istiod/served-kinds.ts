import { builtInKinds, istioKinds, type ServedKind } from "@hairpin/testkit";

const base = { versions: ["v1"], namespaced: false, hasStatus: false, listKeys: {} } as const;

/** What istiod waits for before it serves, besides what our control reads. Gateway API is not among them: its waypoints are Envoys. */
const onlyIstiods: readonly ServedKind[] = [
  { ...base, group: "networking.k8s.io", kind: "Ingress", plural: "ingresses", namespaced: true, hasStatus: true },
  { ...base, group: "networking.k8s.io", kind: "IngressClass", plural: "ingressclasses" },
  {
    ...base,
    group: "admissionregistration.k8s.io",
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
  },
];

/** The kinds of istiod's API server. */
export const servedKinds: readonly ServedKind[] = [...builtInKinds, ...istioKinds, ...onlyIstiods];
