// Runs Istio's istiod in the place of our control, inside control's own pod of a local mesh: `node main.ts PILOT-DISCOVERY`.
// Its API server is a fake that repeats every object of the mesh's store; its CA is the mesh's own, plugged in. What istiod writes
// stays in the fake.
import { spawn } from "node:child_process";
import { copyFile, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MeshClient } from "@hairpin/cli";
import { FakeApiServer } from "@hairpin/testkit";
import { repeatStore } from "./repeat-store.ts";
import { servedKinds } from "./served-kinds.ts";
import { createTokenReview } from "./token-review.ts";

/** What the local mesh mounts for control. */
const controlFolder = "/run/hairpin/control";
const storeSocket = "/run/hairpin/store.sock";

const [program = ""] = process.argv.slice(2);
const api = await FakeApiServer.start(servedKinds);
api.reviews.set("tokenreviews", createTokenReview(await readFile(join(controlFolder, "token-key.pub.pem"), "utf8")));
await repeatStore(new MeshClient(storeSocket), api);

const folder = await mkdtemp(join(tmpdir(), "istiod-"));
await writeFile(join(folder, "kubeconfig"), api.kubeconfig);
for (const file of ["ca-cert.pem", "ca-key.pem", "root-cert.pem"])
  await copyFile(join(controlFolder, file), join(folder, file));
// The mesh's CA is its own root, so its chain is itself. istiod wants a file.
await copyFile(join(folder, "ca-cert.pem"), join(folder, "cert-chain.pem"));
const istiod = spawn(program, ["discovery", "--kubeconfig", join(folder, "kubeconfig"), "--domain", "cluster.local"], {
  cwd: folder,
  stdio: "inherit",
  env: {
    PATH: process.env["PATH"],
    POD_NAME: process.env["HOSTNAME"] ?? "istiod",
    POD_NAMESPACE: "istio-system",
    CLUSTER_ID: "Kubernetes",
    PILOT_ENABLE_AMBIENT: "true",
    CA_TRUSTED_NODE_ACCOUNTS: "istio-system/ztunnel",
    ROOT_CA_DIR: folder,
    // Neither injection nor admission: pods are not made through this API server.
    INJECT_ENABLED: "false",
    VALIDATION_WEBHOOK_CONFIG_NAME: "",
    // The fake answers lists; it does not stream them.
    KUBE_FEATURE_WatchListClient: "false",
  },
});
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => istiod.kill(signal));
istiod.once("error", (error) => {
  console.error(`${program} did not start: ${error.message}`);
  process.exit(1);
});
istiod.once("exit", (code) => process.exit(code ?? 1));
