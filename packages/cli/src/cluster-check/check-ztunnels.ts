// What `helm test` runs in a cluster: a certificate from the CA, and with it a real HBONE call to every ztunnel.

import { request } from "node:http";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { connectHbone } from "@hairpin/hbone";
import type { CertificateSource } from "@hairpin/shared/identity";
import { createTlsMaterial } from "@hairpin/shared/identity";
import type { KubernetesApi, KubernetesObject } from "@hairpin/shared/kubernetes";
import { formatSpiffeId, type Identity, parseIp } from "@hairpin/shared/model";
import type { TlsMaterial } from "@hairpin/wire";

const hbonePort = 15_008;
const metricsPort = 15_020;

interface ZtunnelPod extends KubernetesObject {
  readonly spec?: { readonly nodeName?: string };
  readonly status?: { readonly podIP?: string };
}

export interface ClusterCheck {
  readonly api: KubernetesApi;
  readonly ca: CertificateSource;
  /** Ours. */
  readonly identity: Identity;
  /** Theirs; it lives in the namespace of the mesh. */
  readonly ztunnel: Identity;
  readonly say: (line: string) => void;
}

/** Rejects with the first thing that does not work. */
export async function checkZtunnels({ api, ca, identity, ztunnel, say }: ClusterCheck): Promise<void> {
  const certificate = await ca.fetchCertificate(identity);
  say(`the CA signed ${formatSpiffeId(identity)} until ${certificate.notAfter.toISOString()}`);
  const { items } = await api.list<ZtunnelPod>(
    { apiVersion: "v1", kind: "Pod" },
    { namespace: ztunnel.namespace, labelSelector: "app=ztunnel" },
  );
  const running = items.filter(({ status, metadata }) => status?.podIP && metadata.deletionTimestamp === undefined);
  if (running.length === 0) throw new Error(`No ztunnel runs in ${ztunnel.namespace}`);
  const material = createTlsMaterial(certificate);
  for (const { metadata, spec, status } of running) {
    const ip = parseIp(status?.podIP ?? "");
    const lines = await readMetrics(ip, material, ztunnel);
    say(
      `${metadata.name} on ${spec?.nodeName ?? "?"}: ${formatSpiffeId(ztunnel)} gave ${lines} lines of metrics by HBONE`,
    );
  }
}

/** Its metrics through a tunnel to itself; how many lines. */
async function readMetrics(ip: string, material: TlsMaterial, ztunnel: Identity): Promise<number> {
  const client = await connectHbone({ address: { ip, port: hbonePort }, material, expectedIdentities: [ztunnel] });
  try {
    const tunnel = await client.openTunnel(`${ip}:${metricsPort}`);
    const page = await get(tunnel, `${ip}:${metricsPort}`, "/stats/prometheus");
    if (!page.includes("istio_build")) throw new Error(`The ztunnel at ${ip} answered something else than its metrics`);
    return page.trim().split("\n").length;
  } finally {
    client.close();
  }
}

async function get(tunnel: Duplex, host: string, path: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const call = request({ createConnection: () => tunnel, path, headers: { host, connection: "close" } }, (answer) => {
      if (answer.statusCode === 200) text(answer).then(resolve, reject);
      else reject(new Error(`${host}${path} was answered ${answer.statusCode}`));
    });
    call.on("error", reject);
    call.end();
  });
}
