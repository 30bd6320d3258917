import type { SocketAddress } from "@hairpin/shared/model";
import { eventually, findFreePort, type ForeignProgram, pemFiles, startForeignProgram } from "@hairpin/testkit";
import { connectTcp } from "@hairpin/wire";
import { clientIdentity, serverIdentity, testAuthority } from "./hbone-proxy.ts";

/** Receive windows of a stream on both sides of nghttpx. */
const streamWindow = 256 * 1024;

/**
 * nghttpx as a forward proxy: it accepts CONNECTs as the server's identity and asks `backend` for the same as the client's, both over
 * mutual TLS. nghttp2 is our peer at both ends of one tunnel.
 */
export async function startNghttpx(
  path: string,
  backend: SocketAddress,
): Promise<ForeignProgram & { readonly address: SocketAddress }> {
  const port = await findFreePort();
  const files = {
    ...pemFiles(testAuthority.material(serverIdentity), "server-"),
    ...pemFiles(testAuthority.material(clientIdentity), "client-"),
  };
  const program = await startForeignProgram(path, files, (folder) => ({
    args: [
      "--conf=/dev/null",
      "--http2-proxy",
      "--workers=1",
      "--single-process",
      `--frontend=127.0.0.1,${port}`,
      `--backend=${backend.ip},${backend.port};;proto=h2;tls`,
      "--insecure",
      `--client-private-key-file=${folder}/client-key.pem`,
      `--client-cert-file=${folder}/client-certificate.pem`,
      "--verify-client",
      `--verify-client-cacert=${folder}/server-roots.pem`,
      `--frontend-http2-window-size=${streamWindow}`,
      `--backend-http2-window-size=${streamWindow}`,
      "--frontend-http2-connection-window-size=16M",
      "--backend-http2-connection-window-size=16M",
      "--frontend-http2-max-concurrent-streams=200",
      "--no-ocsp",
      "--errorlog-file=/dev/stderr",
      `${folder}/server-key.pem`,
      `${folder}/server-certificate.pem`,
    ],
  }));
  const address = { ip: "127.0.0.1", port };
  await eventually(async () => (await connectTcp({ ...address, timeoutMs: 1000 })).destroy(), { timeoutMs: 15_000 });
  return { ...program, address };
}
