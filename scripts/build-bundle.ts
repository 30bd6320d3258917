// Bundles the programs of the image into one file each: `node scripts/build-bundle.ts OUT [NAME]...`. Without names: all of them.
// What a bundle cannot hold (koffi's native code) stays an import, for the image to bring along.
import { join } from "node:path";
import { build, type BuildOptions } from "esbuild";

const root = join(import.meta.dirname, "..");

/** CommonJS libraries inside an ES module still call require. */
const requireBanner = {
  js: 'import { createRequire as createBundleRequire } from "node:module"; const require = createBundleRequire(import.meta.url);',
};
const program = (name: string, main: string = "main.ts"): BuildOptions => ({
  entryPoints: [join(root, "packages", name, "src", main)],
  format: "esm",
  banner: requireBanner,
  external: ["koffi"],
});

/** By the file that each becomes. */
const bundles: Readonly<Record<string, BuildOptions>> = {
  "control.mjs": program("control"),
  "ztunnel.mjs": program("ztunnel"),
  // Named in worker-thread.ts.
  "ztunnel-worker.mjs": program("ztunnel", "worker/main.ts"),
  "waypoint.mjs": program("waypoint"),
  "capture.mjs": program("capture"),
  "uninstall.mjs": program("control", "uninstall/main.ts"),
  "cluster-check.mjs": program("cli", "cluster-check/main.ts"),
  // Started anew for every pod: CommonJS loads faster, and nothing native may be in it.
  "cni-plugin.cjs": {
    entryPoints: [join(root, "packages/capture/src/cni/main.ts")],
    format: "cjs",
    minify: true,
  },
};

const [out, ...names] = process.argv.slice(2);
const unknown = names.filter((name) => bundles[name] === undefined);
if (out === undefined || unknown.length > 0) {
  console.error(`usage: node scripts/build-bundle.ts OUT [${Object.keys(bundles).join("|")}]...`);
  process.exit(64);
}
for (const [name, options] of Object.entries(bundles)) {
  if (names.length > 0 && !names.includes(name)) continue;
  await build({
    ...options,
    outfile: join(out, name),
    bundle: true,
    platform: "node",
    target: "node24",
    legalComments: "none",
    logLevel: "warning",
  });
}
