import type { KubernetesObject, MeshClient } from "@hairpin/cli";
import { type FakeApiServer, istioKinds } from "@hairpin/testkit";
import { servedKinds } from "./served-kinds.ts";

/**
 * Repeats every object of a local mesh's store, now and later, in an API server; resolves when it holds them all once. istiod reads
 * kinds of Istio only when their CRDs are there. Kinds that the API server does not serve are left out.
 */
export async function repeatStore(store: MeshClient, api: FakeApiServer): Promise<void> {
  for (const { group, plural } of istioKinds)
    api.put({
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: `${plural}.${group}` },
    });
  const served = new Set(servedKinds.map(({ kind }) => kind));
  const { promise: synced, resolve } = Promise.withResolvers<void>();
  const follow = async (): Promise<void> => {
    for await (const { type, object } of store.watch()) {
      if (type === "SYNCED") resolve();
      else if (object !== undefined && served.has(object.kind)) repeat(api, type, object);
    }
    throw new Error("The mesh's store has ended its watch");
  };
  // Without it istiod would go on with what was: the whole pod ends and is started again.
  follow().catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
  await synced;
}

function repeat(api: FakeApiServer, type: string, object: KubernetesObject): void {
  const { namespace = "", name } = object.metadata;
  if (type === "DELETED") api.remove(object.kind, namespace, name);
  else api.put(object);
}
