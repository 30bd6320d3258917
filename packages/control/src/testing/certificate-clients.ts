// Runs in a worker thread: what clients do must not be measured as control's.

import { parentPort, workerData } from "node:worker_threads";
import { create } from "@bufbuild/protobuf";
import { Client, Metadata, credentials } from "@grpc/grpc-js";
import { istioCa } from "@hairpin/shared/api";
import { createCertificateMethod, createCsr, createKeyPair } from "@hairpin/shared/identity";
import { parseSpiffeId } from "@hairpin/shared/model";

/** Each token is one node agent with a connection of its own. */
export interface CertificateClientsTask {
  readonly port: number;
  readonly rootPem: string;
  readonly tokens: readonly string[];
  readonly impersonate: string;
}

const { port, rootPem, tokens, impersonate } = workerData as CertificateClientsTask;
const clients = tokens.map((token) => ({
  token,
  client: new Client(`127.0.0.1:${port}`, credentials.createSsl(Buffer.from(rootPem)), {
    "grpc.ssl_target_name_override": "istiod.istio-system.svc",
    "grpc.use_local_subchannel_pool": 1,
  }),
}));
const csr = createCsr(parseSpiffeId(impersonate), createKeyPair());

async function ask({ token, client }: (typeof clients)[number]): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const metadata = new Metadata();
  metadata.add("authorization", `Bearer ${token}`);
  const message = create(istioCa.IstioCertificateRequestSchema, {
    csr,
    validityDuration: 3600n,
    metadata: { ImpersonatedIdentity: impersonate },
  });
  const { path, requestSerialize, responseDeserialize } = createCertificateMethod;
  client.makeUnaryRequest(path, requestSerialize, responseDeserialize, message, metadata, (error, response) =>
    resolve(error === null && response?.certChain.length === 2),
  );
  return await promise;
}

/** Asks so many times at once; answers how many certificates came. */
parentPort?.on("message", (count: number) => {
  const asked = Array.from({ length: count }, (_, index) => clients[index % clients.length]).map(async (client) =>
    client === undefined ? false : await ask(client),
  );
  void Promise.all(asked).then((answers) => parentPort?.postMessage(answers.filter(Boolean).length));
});
