// Asks the mesh's CA for a certificate with the pod's own token: `ask-certificate.ts CA-ADDRESS IDENTITY own|other`. With
// `other` it names the identity as a node agent does. Prints whose certificate came, or why none did.
import { readFile } from "node:fs/promises";
import { createCaClient, IdentityError } from "@hairpin/shared/identity";
import { formatSpiffeId, parseSpiffeId } from "@hairpin/shared/model";

const [address = "", identity = "", how = "own"] = process.argv.slice(2);

const client = createCaClient({
  address,
  rootPem: async () => await readFile("/run/secrets/istio/root-cert.pem", "utf8"),
  token: async () => (await readFile("/run/secrets/tokens/istio-token", "utf8")).trim(),
  clusterId: "Kubernetes",
  alternativeHostname: "istiod.istio-system.svc",
  impersonate: how === "other",
});
try {
  const certificate = await client.fetchCertificate(parseSpiffeId(identity));
  process.stdout.write(`${JSON.stringify({ got: formatSpiffeId(certificate.identity) })}\n`);
} catch (error) {
  const code = error instanceof IdentityError ? error.code : "";
  process.stdout.write(`${JSON.stringify({ refused: code, reason: String(error) })}\n`);
}
client.close();
