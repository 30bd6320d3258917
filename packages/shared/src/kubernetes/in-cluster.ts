import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import type { Clock } from "../process/index.ts";
import type { ApiConnection, ApiRequestOptions } from "./api-connection.ts";

/** Where the kubelet mounts a pod's token and the API server's certificate authority. */
export const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The token is renewed by the kubelet, within the hour it lives: read anew this often. */
const refreshMs = 10_000;

/** The API server as every pod reaches it, with the pod's own service account. Requests reject when its files cannot be read. */
export function createInClusterConnection(
  { clock }: { readonly clock: Clock },
  {
    host,
    port,
    folder = serviceAccountFolder,
  }: { readonly host: string; readonly port: number; readonly folder?: string },
): ApiConnection {
  let held: { readonly options: ApiRequestOptions; readonly until: number } | undefined;
  return {
    server: new URL(`https://${isIPv6(host) ? `[${host}]` : host}:${port}`),
    async requestOptions() {
      const now = clock.now();
      if (held === undefined || held.until <= now) {
        const [token, ca] = await Promise.all([
          readFile(join(folder, "token"), "utf8"),
          readFile(join(folder, "ca.crt")),
        ]);
        held = { options: { ca, headers: { authorization: `Bearer ${token.trim()}` } }, until: now + refreshMs };
      }
      return held.options;
    },
  };
}
