// Builds the project's image and that of the scenarios' pods, and puts them where a cluster finds them:
// `npm run image -- TAG [--build-arg NAME=VALUE]... [--kind CLUSTER]`. The second one is TAG with `-e2e` behind its name.
// With docker and kind; or with the command in E2E_IMAGE_BUILD, called with a folder, a tag and the --build-arg flags.

import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { loadImage } from "./load-image.ts";

const root = join(import.meta.dirname, "../..");
/** Where Debian's administrators put roots of their own; a network that signs TLS anew needs them inside of builds too. */
const localRoots = "/usr/local/share/ca-certificates/*.crt";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { "build-arg": { type: "string", multiple: true, default: [] }, kind: { type: "string", default: "kind" } },
});
const [tag, ...surplus] = positionals;
if (tag === undefined || surplus.length > 0) {
  console.error("usage: npm run image -- TAG [--build-arg NAME=VALUE]... [--kind CLUSTER]");
  process.exit(64);
}
const givenArgs = values["build-arg"];
const extraRoots = globSync(localRoots)
  .map((file) => readFileSync(file))
  .map((pem) => Buffer.concat([pem, Buffer.from("\n")]));
const rootArgs =
  extraRoots.length === 0 || givenArgs.some((arg) => arg.startsWith("EXTRA_CA="))
    ? []
    : [`EXTRA_CA=${Buffer.concat(extraRoots).toString("base64")}`];

loadImage({ context: root, tag, args: [...givenArgs, ...rootArgs], kind: values.kind });
const folder = await scenarioFolder();
try {
  // Its Dockerfile has no other argument.
  const args = givenArgs.filter((arg) => arg.startsWith("BASE_IMAGE="));
  loadImage({ context: folder, tag: scenarioTag(tag), args, kind: values.kind });
} finally {
  rmSync(folder, { recursive: true });
}

function scenarioTag(name: string): string {
  const at = name.lastIndexOf(":");
  return at > name.lastIndexOf("/") ? `${name.slice(0, at)}-e2e${name.slice(at)}` : `${name}-e2e`;
}

/** The programs in one file each, under their own names: Node strips the types that are no longer there. */
async function scenarioFolder(): Promise<string> {
  const made = mkdtempSync(join(tmpdir(), "hairpin-e2e-image-"));
  mkdirSync(join(made, "apps"));
  cpSync(join(root, "e2e/image/Dockerfile"), join(made, "Dockerfile"));
  cpSync(realpathSync(join(root, "node_modules/.bin/node")), join(made, "node"));
  const apps = readdirSync(join(root, "e2e/apps")).filter((file) => file.endsWith(".ts"));
  for (const app of apps) {
    await build({
      entryPoints: [join(root, "e2e/apps", app)],
      outfile: join(made, "apps", basename(app)),
      bundle: true,
      platform: "node",
      format: "esm",
      external: ["koffi"],
      banner: {
        js: 'import { createRequire as createBundleRequire } from "node:module"; const require = createBundleRequire(import.meta.url);',
      },
      logLevel: "warning",
    });
  }
  return made;
}
