import type { OutgoingHttpHeaders } from "node:http";
import type { RequestOptions } from "node:https";
import type { ApiConnection, ApiRequestOptions } from "@hairpin/shared/kubernetes";
import type { Clock } from "@hairpin/shared/process";

/** Certificates and tokens are read anew this often. */
const refreshMs = 10_000;

/**
 * From the current context of a kubeconfig file. Throws when the file cannot be read or names no cluster. The library, which
 * knows every way of logging in, is loaded here and only when asked: it costs some 90 MB.
 */
export async function loadKubeconfig({ clock }: { readonly clock: Clock }, path: string): Promise<ApiConnection> {
  const { KubeConfig } = await import("@kubernetes/client-node/dist/config.js");
  const config = new KubeConfig();
  config.loadFromFile(path);
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new Error(`The current context of ${path} names no cluster`);
  let held: { readonly options: ApiRequestOptions; readonly until: number } | undefined;
  return {
    server: new URL(cluster.server),
    requestOptions: async () => {
      const now = clock.now();
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
