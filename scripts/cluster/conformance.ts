// Runs the Gateway API's conformance tests of meshes (e2e/conformance): `npm run e2e:conformance -- --kubeconfig FILE [OPTIONS]
// [-- FLAG OF THE SUITE...]`. The cluster has the Gateway API's CRDs and the chart; the run without the mesh needs no chart.
//   --load-images        build the stand-in for the suite's image and load it, where the suite's own cannot be pulled
//   --kind CLUSTER       the kind cluster to load it into
//   --control            the run without the mesh, which shows what passes by chance
//   --smoke              a handful of tests, no report
//   --out DIRECTORY      where the report and the list of results go; default docs/conformance

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { loadImage } from "./load-image.ts";

const root = join(import.meta.dirname, "../..");
const suiteFolder = join(root, "e2e/conformance");
/** As the suite's manifests of meshes name it. */
const echoImage = "registry.k8s.io/gateway-api/echo-advanced:v1.5.1";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kubeconfig: { type: "string" },
    "load-images": { type: "boolean", default: false },
    kind: { type: "string", default: "kind" },
    control: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    out: { type: "string", default: join(root, "docs/conformance") },
  },
});
if (values.kubeconfig === undefined) {
  console.error(
    "usage: npm run e2e:conformance -- --kubeconfig FILE [--load-images] [--control] [--smoke] [--out DIR]",
  );
  process.exit(64);
}
const kubeconfig = resolve(values.kubeconfig);
const out = resolve(values.out);
if (values["load-images"]) loadEcho();
process.exit(await runSuite());

/** The stand-in alone in an image, under the two names by which the suite calls it. */
function loadEcho(): void {
  const folder = mkdtempSync(join(tmpdir(), "hairpin-conformance-"));
  try {
    const build = ["build", "-trimpath", "-ldflags", "-s -w", "-o", join(folder, "server"), "./echo"];
    const { status } = spawnSync("go", build, {
      cwd: suiteFolder,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, CGO_ENABLED: "0" },
    });
    if (status !== 0)
      throw new Error("the stand-in for the suite's image could not be built; Go 1.26 or newer is needed");
    const dockerfile = `FROM scratch
COPY server /usr/local/bin/server
COPY server /usr/local/bin/client
ENV PATH=/usr/local/bin
ENTRYPOINT ["/usr/local/bin/server"]
`;
    writeFileSync(join(folder, "Dockerfile"), dockerfile);
    loadImage({ context: folder, tag: echoImage, kind: values.kind });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Prints the tests as they begin and what became of each; the suite's own words go to a file. Returns the exit code. */
async function runSuite(): Promise<number> {
  mkdirSync(out, { recursive: true });
  const run = values.control ? "without-mesh" : "mesh";
  const log = join(tmpdir(), `hairpin-conformance-${run}.log`);
  const version: unknown = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version;
  const flags = [
    "-conformance-options-file=options.yaml",
    `-version=v${String(version)}`,
    `-mesh=${!values.control}`,
    `-smoke=${values.smoke}`,
    ...(values.smoke ? [] : [`-report-output=${join(out, `${run}.yaml`)}`]),
    ...positionals,
  ];
  const test = [
    "test",
    ".",
    "-run",
    "^TestConformance$",
    "-count=1",
    "-timeout=60m",
    "-vet=off",
    "-v",
    "-args",
    ...flags,
  ];
  const suite = spawn("go", test, {
    cwd: suiteFolder,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });
  const ended = once(suite, "close");
  const whole = createWriteStream(log);
  const results: string[] = [];
  for await (const line of createInterface(suite.stdout)) {
    whole.write(`${line}\n`);
    if (/^=== RUN +TestConformance\/Mesh[^/]+$/.test(line)) console.log(line);
    const [, outcome, name] = /^ {4}--- (PASS|FAIL|SKIP): TestConformance\/([^/ ]+) /.exec(line) ?? [];
    if (outcome !== undefined && outcome !== "SKIP") results.push(`${outcome} ${name}`);
  }
  whole.end();
  await ended;
  for (const result of results) console.log(result);
  console.log(`What the suite said: ${log}`);
  if (!values.smoke) writeFileSync(join(out, `${run}.txt`), `${results.toSorted(byTest).join("\n")}\n`);
  return suite.exitCode ?? 1;
}

function byTest(a: string, b: string): number {
  const [, testA = ""] = a.split(" ");
  const [, testB = ""] = b.split(" ");
  return testA < testB ? -1 : 1;
}
