// Runs the scenarios of e2e/: `npm run e2e [-- OPTIONS] [FILE...]`.
//   (nothing)            in the local mesh
//   --kubeconfig FILE    in a running cluster that has the Gateway API's CRDs: builds and loads the images, installs the chart, runs,
//                        uninstalls
//   --kind               in a kind cluster that is made for it and removed again; needs docker and kind
//   --image TAG          default localhost/hairpin:e2e
//   --no-build           the images are there
//   --keep               leave the chart (and the kind cluster) for a look
//   --smoke              only e2e/smoke.cluster.test.ts
//   --build-arg K=V      of the image (image/README.md)

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const root = join(import.meta.dirname, "../..");
const kindCluster = "hairpin-e2e";
const namespace = "istio-system";
const gatewayApi = "https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.6.1/standard-install.yaml";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kubeconfig: { type: "string" },
    kind: { type: "boolean", default: false },
    image: { type: "string", default: "localhost/hairpin:e2e" },
    "no-build": { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    "build-arg": { type: "string", multiple: true, default: [] },
    reporter: { type: "string", multiple: true, default: [] },
    outputFile: { type: "string" },
  },
});
const vitestWords = [
  ...values.reporter.map((name) => `--reporter=${name}`),
  ...(values.outputFile === undefined ? [] : [`--outputFile.json=${values.outputFile}`]),
];

if (!values.kind && values.kubeconfig === undefined) {
  process.exit(
    run("vitest", ["run", "--project", "mesh", ...vitestWords, ...(positionals.length > 0 ? positionals : ["e2e/"])]),
  );
}
const folder = mkdtempSync(join(tmpdir(), "hairpin-e2e-"));
const kubeconfig = values.kind ? join(folder, "kubeconfig") : resolve(values.kubeconfig ?? "");
let code = 1;
try {
  if (!values.kind && !existsSync(kubeconfig)) throw new Error(`There is no kubeconfig ${kubeconfig}`);
  code = runInCluster();
} catch (error) {
  console.error(`e2e: ${error instanceof Error ? error.message : String(error)}`);
} finally {
  rmSync(folder, { recursive: true });
}
process.exit(code);

function runInCluster(): number {
  if (values.kind) {
    must("kind", [
      "create",
      "cluster",
      "--name",
      kindCluster,
      "--kubeconfig",
      kubeconfig,
      "--config",
      join(root, "e2e/kind.yaml"),
    ]);
    must("kubectl", ["--kubeconfig", kubeconfig, "apply", "--server-side", "-f", gatewayApi]);
  }
  try {
    if (!values["no-build"]) {
      const args = values["build-arg"].flatMap((arg) => ["--build-arg", arg]);
      must("node", [join(root, "scripts/cluster/image.ts"), values.image, "--kind", kindCluster, ...args]);
    }
    install();
    const files = values.smoke ? ["e2e/smoke.cluster.test.ts"] : positionals;
    return run("vitest", ["run", "--project", "cluster", ...vitestWords, ...files], {
      E2E_KUBECONFIG: kubeconfig,
      E2E_IMAGE: values.image,
    });
  } finally {
    if (!values.keep) remove();
  }
}

function install(): void {
  const at = values.image.lastIndexOf(":");
  const image = [
    `image.repository=${values.image.slice(0, at)}`,
    `image.tag=${values.image.slice(at + 1)}`,
    "log.format=plain",
  ];
  const started = performance.now();
  const release = [
    "upgrade",
    "--install",
    "hairpin",
    join(root, "charts/hairpin"),
    "-n",
    namespace,
    "--create-namespace",
  ];
  must("helm", ["--kubeconfig", kubeconfig, ...release, "--wait", "--timeout", "3m", "--set", image.join(",")]);
  console.log(`[e2e] chart installed and ready after ${Math.round(performance.now() - started)} ms`);
}

function remove(): void {
  if (values.kind) run("kind", ["delete", "cluster", "--name", kindCluster]);
  else run("helm", ["--kubeconfig", kubeconfig, "uninstall", "hairpin", "-n", namespace, "--wait"]);
}

function must(program: string, args: readonly string[]): void {
  const status = run(program, args);
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${status}`);
}

function run(program: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): number {
  const { status, error } = spawnSync(program, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...environment },
  });
  if (error !== undefined) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw new Error(missing ? `${program} is not installed, and this needs it` : `${program}: ${error.message}`);
  }
  return status ?? 1;
}
