import type { Clock } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { KubernetesObject } from "./collection/kubernetes-object.ts";
import type { ObjectCollection } from "./collection/object-collection.ts";
import { formatProblem, readManifests } from "./manifest/index.ts";
import { type ListSource, createListSource } from "./source/list-source.ts";

/** Files are looked at this often: their folder may be a mounted ConfigMap, which no watch follows reliably. */
const intervalMs = 1000;

/** Reads a folder of manifests again and again. A bad object is logged and left out; the others count. */
export function createManifestSource(
  components: { readonly objects: ObjectCollection; readonly clock: Clock; readonly logger: Logger },
  folder: string,
): ListSource {
  let reported = "";
  return createListSource(components, {
    name: `manifests:${folder}`,
    intervalMs,
    list: async () => {
      const { objects, problems } = await readManifests([folder]);
      const texts = problems.map(formatProblem);
      if (texts.join() !== reported) for (const problem of texts) components.logger.warn("bad manifest", { problem });
      reported = texts.join();
      // Validated: every object has what a Kubernetes object must have.
      return objects.map(({ object }) => object as unknown as KubernetesObject);
    },
  });
}
