import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noLogger } from "@hairpin/shared/telemetry";
import { ManualClock, eventually } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ObjectCollection } from "./collection/object-collection.ts";
import { createManifestSource } from "./manifest-source.ts";

describe("createManifestSource", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hairpin-manifests-"));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });
  const service = (name: string): string =>
    `apiVersion: v1\nkind: Service\nmetadata: { name: ${name}, namespace: shop }\nspec: { ports: [{ port: 80 }] }\n`;

  test("reads a folder again and again, and leaves a bad object out", async () => {
    const objects = new ObjectCollection();
    const clock = new ManualClock();
    const source = createManifestSource({ objects, clock, logger: noLogger }, folder);
    const names = (): string[] =>
      objects
        .snapshot()
        .list("Service")
        .map(({ metadata }) => metadata.name);
    await writeFile(join(folder, "a.yaml"), `${service("good")}---\nkind: Service\nspec: 7\n`);
    await source.start();
    expect(names()).toEqual(["good"]);
    await writeFile(join(folder, "b.yaml"), service("later"));
    await clock.advance(1000);
    await eventually(() => expect(names()).toEqual(["good", "later"]));
    await source.stop();
    await eventually(() => expect(clock.pendingTimers).toBe(0));
  });
});
