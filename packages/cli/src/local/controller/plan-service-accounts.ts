import { namespaceKind, serviceAccountKind } from "../object/kinds.ts";
import { create, type Planner } from "./planner.ts";

/** Every namespace has a ServiceAccount `default`. */
export const planServiceAccounts: Planner = (view) =>
  view
    .list(namespaceKind)
    .map(({ metadata }) => metadata.name)
    .filter((namespace) => view.find(serviceAccountKind, namespace, "default") === undefined)
    .map((namespace) => create({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace } }));
