import type { OutgoingHttpHeaders } from "node:http";
import type { RequestOptions } from "node:https";
import type { ApiConnection, ApiRequestOptions } from "@hairpin/shared/kubernetes";
import type { Clock } from "@hairpin/shared/process";

export type { ApiConnection };

/** Certificates and tokens are read anew this often. */
const refreshMs = 10_000;

/**
 * From a kubeconfig file (its current context), or from what every pod has. Throws when there is neither.
 * The library is loaded here and only when asked: it costs some 90 MB.
 */
export async function loadApiConnection(
  components: { readonly clock: Clock },
  options: { readonly kubeconfigPath: string | undefined },
): Promise<ApiConnection> {
  const { KubeConfig } = await import("@kubernetes/client-node/dist/config.js");
  const config = new KubeConfig();
  if (options.kubeconfigPath === undefined) config.loadFromCluster();
  else config.loadFromFile(options.kubeconfigPath);
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new Error("The kubeconfig's current context names no cluster");
  let held: { readonly options: ApiRequestOptions; readonly until: number } | undefined;
  return {
    server: new URL(cluster.server),
    requestOptions: async () => {
      const now = components.clock.now();
      if (held === undefined || held.until <= now) {
        const fresh: RequestOptions & { headers: OutgoingHttpHeaders } = { headers: {} };
        await config.applyToHTTPSOptions(fresh);
        // The library keeps its agent for ever and without keep-alive: only a proxy's is of use.
        if (cluster.proxyUrl === undefined) delete fresh.agent;
        held = { options: fresh, until: now + refreshMs };
      }
      return held.options;
    },
  };
}
