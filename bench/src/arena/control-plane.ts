// The real control plane of the bench, on a folder of manifests, and what its clients need to speak to it.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TokenIssuer } from "@hairpin/cli";
import { podObject, rootNamespace, type MeshPod } from "./manifests.ts";
import { controlIp } from "./network.ts";
import { startProgram, type Program } from "./program.ts";
import { projectRoot } from "./project.ts";
import { runCommand } from "./run-command.ts";
import { waitUntil } from "./wait-until.ts";

const startTimeoutMs = 30_000;

export class ControlPlane {
  readonly #directory: string;
  readonly #program: Program;
  readonly #tokens: TokenIssuer;

  private constructor(directory: string, program: Program, tokens: TokenIssuer) {
    this.#directory = directory;
    this.#program = program;
    this.#tokens = tokens;
  }

  /** Starts control with these objects and waits until it is ready. Objects can be added until their users start. */
  static async start(directory: string): Promise<ControlPlane> {
    const tokens = new TokenIssuer();
    for (const folder of ["manifests", "ca", "tokens"]) await mkdir(join(directory, folder), { mode: 0o700 });
    await writeFile(join(directory, "token-key.pem"), tokens.publicKeyPem, { mode: 0o600 });
    const program = startProgram({
      name: "control",
      command: [process.execPath, join(projectRoot, "packages/control/src/main.ts")],
      environment: {
        HAIRPIN_SOURCE: `manifests:${join(directory, "manifests")}`,
        CA_DIR: join(directory, "ca"),
        TOKEN_KEY: join(directory, "token-key.pem"),
        CA_TRUSTED_NODE_ACCOUNTS: `${rootNamespace}/ztunnel`,
      },
      logPath: join(directory, "control.log"),
    });
    await waitUntil("control is not ready", startTimeoutMs, async () => {
      program.check();
      await runCommand(["curl", "-fsS", "-m", "2", "http://127.0.0.1:8080/ready"]);
    });
    return new ControlPlane(directory, program, tokens);
  }

  get rootPath(): string {
    return join(this.#directory, "ca/root-cert.pem");
  }

  get logPath(): string {
    return this.#program.logPath;
  }

  /** Adds objects; control looks at its folder every second. */
  async apply(name: string, objects: readonly object[]): Promise<void> {
    const documents = objects.map((object) => JSON.stringify(object));
    await writeFile(join(this.#directory, "manifests", `${name}.yaml`), documents.join("\n---\n"));
  }

  /** Istio's environment of a proxy that runs as this pod, whose objects are applied with it. */
  async environmentOf(pod: MeshPod): Promise<Readonly<Record<string, string>>> {
    await this.apply(pod.uid, [podObject(pod)]);
    const tokenPath = join(this.#directory, "tokens", pod.uid);
    const subject = {
      namespace: pod.namespace,
      serviceAccount: { name: pod.serviceAccount, uid: `uid-${pod.serviceAccount}` },
      pod: { name: pod.name, uid: pod.uid },
      node: { name: pod.node, uid: `uid-${pod.node}` },
    };
    const { token } = this.#tokens.issue(subject, { audience: "istio-ca", lifetimeSeconds: 3600 });
    await writeFile(tokenPath, token, { mode: 0o600 });
    const address = `https://${controlIp}:15012`;
    const hostname = `istiod.${rootNamespace}.svc`;
    return {
      XDS_ADDRESS: address,
      CA_ADDRESS: address,
      ALT_XDS_HOSTNAME: hostname,
      ALT_CA_HOSTNAME: hostname,
      XDS_ROOT_CA: this.rootPath,
      CA_ROOT_CA: this.rootPath,
      AUTH_TOKEN: tokenPath,
      CLUSTER_ID: "Kubernetes",
      CLUSTER_DOMAIN: "cluster.local",
      TRUST_DOMAIN: "cluster.local",
      NETWORK: "",
      IPV6_ENABLED: "false",
      LOG_FORMAT: "plain",
      NODE_NAME: pod.node,
      POD_NAME: pod.name,
      POD_NAMESPACE: pod.namespace,
      SERVICE_ACCOUNT: pod.serviceAccount,
      INSTANCE_IP: pod.host.ip,
    };
  }
}
