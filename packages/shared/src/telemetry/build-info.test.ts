import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { version } from "./build-info.ts";

it("is the version of every package", () => {
  const root = path.resolve(import.meta.dirname, "../../../..");
  const files = globSync(["package.json", "packages/*/package.json"], { cwd: root });
  expect(files.length).toBeGreaterThan(5);
  const versions = files.map((file): unknown => JSON.parse(readFileSync(path.join(root, file), "utf8")));
  for (const manifest of versions) expect(manifest).toMatchObject({ version });
});
