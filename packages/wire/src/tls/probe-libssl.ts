import { generateKeyPairSync } from "node:crypto";
import { OpensslContext, TlsState } from "@hairpin/native";
import { signCertificate, toPem } from "./sign-certificate.ts";

const minuteMs = 60_000;
const message: Buffer = Buffer.from("probe");

/**
 * Tries libssl in this thread: two connections in memory, a real handshake with certificates both ways, a message each way
 * (3 ms). Throws what went wrong. A fault of the FFI itself would end the process here, at the start, and not under load.
 */
export function probeLibssl(): void {
  const context = new OpensslContext(probeMaterial());
  const client = new TlsState(context, "client");
  const server = new TlsState(context, "server");
  try {
    handshake(client, server);
    for (const [from, to] of [[client, server] as const, [server, client] as const]) {
      const ciphertext = from.send(message);
      if (ciphertext === undefined || !message.equals(to.receive(Buffer.from(ciphertext))))
        throw new Error("a message did not arrive as it was sent");
    }
  } finally {
    client.close();
    server.close();
    context.close();
  }
}

function handshake(client: TlsState, server: TlsState): void {
  const step = (of: TlsState, ciphertext?: Uint8Array): { established: boolean; flight: Uint8Array } => {
    const established = of.handshake(ciphertext);
    const flight = Buffer.from(of.takeOutput() ?? []);
    if (of.failure !== undefined) throw of.failure;
    return { established, flight };
  };
  const hello = step(client);
  const answer = step(server, hello.flight);
  const finished = step(client, answer.flight);
  const last = step(server, finished.flight);
  if (!finished.established || !last.established) throw new Error("the handshake took more than three flights");
  if (!client.readPeer().alpnAgreed || server.readPeer().certificates.length !== 1)
    throw new Error("the handshake agreed on no ALPN, or saw no certificate");
}

/** A certificate that is its own root, for a key that nobody keeps. */
function probeMaterial(): { certificateChain: string; privateKey: string; roots: string[] } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const certificate = signCertificate({
    name: "hairpin probe",
    issuerName: "hairpin probe",
    publicKey,
    signer: privateKey,
    notBefore: new Date(Date.now() - minuteMs),
    notAfter: new Date(Date.now() + minuteMs),
    extensions: [],
  });
  const pem = toPem(certificate, "CERTIFICATE");
  return { certificateChain: pem, privateKey: privateKey.export({ type: "pkcs8", format: "pem" }), roots: [pem] };
}
