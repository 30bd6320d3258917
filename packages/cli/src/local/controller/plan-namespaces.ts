import { namespaceKind } from "../object/kinds.ts";
import { type Planner, update } from "./planner.ts";

/** The label by which selectors find a namespace by name. */
const nameLabel = "kubernetes.io/metadata.name";

/** Namespaces carry their name as a label, and are active. */
export const planNamespaces: Planner = (view) =>
  view.list(namespaceKind).map((namespace) => {
    const { metadata } = namespace;
    const labels = { ...metadata.labels, [nameLabel]: metadata.name };
    return update({
      ...namespace,
      metadata: { ...metadata, labels },
      status: { ...namespace.status, phase: "Active" },
    });
  });
