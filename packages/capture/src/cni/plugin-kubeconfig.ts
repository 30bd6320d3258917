// The file by which the plugin asks the API server on its own when the agent does not answer. Written by the agent as JSON,
// which every reader of kubeconfigs takes for the YAML that it also is, and the plugin reads without a YAML parser.

export interface PluginKubeconfig {
  /** `https://10.96.0.1:443` */
  readonly server: string;
  readonly caPem: string;
  readonly token: string;
}

export function formatKubeconfig({ server, caPem, token }: PluginKubeconfig): string {
  const name = "hairpin-cni";
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server, "certificate-authority-data": Buffer.from(caPem).toString("base64") } }],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    "current-context": name,
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

/** Throws `Error` that says what is missing. */
export function parseKubeconfig(text: string): PluginKubeconfig {
  const config = JSON.parse(text) as {
    readonly clusters?: readonly { readonly cluster?: Readonly<Record<string, unknown>> }[];
    readonly users?: readonly { readonly user?: Readonly<Record<string, unknown>> }[];
  };
  const cluster = config.clusters?.[0]?.cluster ?? {};
  const { server, "certificate-authority-data": ca } = cluster;
  const token = config.users?.[0]?.user?.["token"];
  if (typeof server !== "string" || typeof ca !== "string" || typeof token !== "string")
    throw new Error("it has no server, certificate authority or token");
  return { server, caPem: Buffer.from(ca, "base64").toString("utf8"), token };
}
