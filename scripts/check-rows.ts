// Checks that packages import only from rows below them (ARCHITECTURE.md), that shared's folders keep their order, and that
// each package's dependencies and tsconfig references say the same. Prints every breach as file:line; exits 1 when there is one.
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const rowOf: Record<string, number> = {
  native: 1,
  wire: 2,
  shared: 3,
  hbone: 4,
  ztunnel: 5,
  waypoint: 5,
  capture: 5,
  control: 5,
  cli: 6,
};
const sharedOrder = [
  "model",
  "process",
  "telemetry",
  "kubernetes",
  "api",
  "identity",
  "xds",
  "authz",
  "discovery",
  "agent",
];

const breaches: string[] = [];

for (const file of globSync("packages/*/src/**/*.ts", { cwd: root })) {
  const [, packageName = "", , folder = ""] = file.split("/");
  const isTest = /\.test\.ts$|\/test(ing|-support)\//.test(file) || packageName === "testkit";
  const lines = readFileSync(join(root, file), "utf8").split("\n");
  for (const [index, line] of lines.entries()) {
    const specifier = /(?:from|import)\s*\(?"([^"]+)"/.exec(line)?.[1];
    if (specifier === undefined) continue;
    const where = `${file}:${index + 1}`;
    checkPackageRow(where, packageName, specifier, isTest);
    if (packageName === "shared" && !isTest) checkSharedOrder(where, file, folder, specifier);
  }
}

for (const path of globSync("packages/*/package.json", { cwd: root })) checkReferences(path);

function checkPackageRow(where: string, from: string, specifier: string, isTest: boolean): void {
  const to = /^@hairpin\/([a-z]+)/.exec(specifier)?.[1];
  if (to === undefined) return;
  if (to === from) breaches.push(`${where}: ${from} imports itself by name; use a relative path`);
  if (to === "testkit") {
    if (!isTest) breaches.push(`${where}: only tests may import testkit`);
    return;
  }
  const fromRow = rowOf[from];
  const toRow = rowOf[to];
  if (fromRow !== undefined && toRow !== undefined && toRow >= fromRow) {
    breaches.push(`${where}: ${from} (row ${fromRow}) may not import ${to} (row ${toRow})`);
  }
}

function checkSharedOrder(where: string, file: string, folder: string, specifier: string): void {
  if (!specifier.startsWith(".")) return;
  const target = relative(join(root, "packages/shared/src"), join(root, dirname(file), specifier)).split("/")[0] ?? "";
  if (target === folder || !sharedOrder.includes(target)) return;
  if (sharedOrder.indexOf(target) > sharedOrder.indexOf(folder))
    breaches.push(`${where}: shared/${folder} may not import shared/${target}`);
}

function checkReferences(packageJsonPath: string): void {
  const folder = dirname(packageJsonPath);
  const manifest: { dependencies?: Record<string, string>; devDependencies?: Record<string, string> } = JSON.parse(
    readFileSync(join(root, packageJsonPath), "utf8"),
  );
  const tsconfig: { references?: { path: string }[] } = JSON.parse(
    readFileSync(join(root, folder, "tsconfig.json"), "utf8"),
  );
  const named = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })
    .filter((name) => name.startsWith("@hairpin/"))
    .map((name) => `../${name.slice("@hairpin/".length)}`);
  const referenced = (tsconfig.references ?? []).map(({ path }) => path);
  for (const path of named) {
    if (!referenced.includes(path))
      breaches.push(`${folder}/tsconfig.json: reference to ${path} is missing (package.json depends on it)`);
  }
  for (const path of referenced) {
    if (!named.includes(path))
      breaches.push(`${folder}/package.json: dependency for tsconfig reference ${path} is missing`);
  }
}

for (const breach of breaches) console.error(breach);
console.log(breaches.length === 0 ? "Rows hold" : `${breaches.length} breaches of the rows`);
process.exit(breaches.length === 0 ? 0 : 1);
