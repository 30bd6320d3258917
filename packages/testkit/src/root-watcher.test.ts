// The watcher of shared/agent, here because shared cannot depend on testkit.
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RootWatcher } from "@hairpin/shared/agent";
import { noLogger } from "@hairpin/shared/telemetry";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "./eventually.ts";
import { ManualClock } from "./manual-clock.ts";

describe("RootWatcher", () => {
  let folder: string;
  let path: string;
  let clock: ManualClock;
  let renewals: number;
  let watcher: RootWatcher;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hairpin-root-"));
    path = join(folder, "root-cert.pem");
    clock = new ManualClock();
    renewals = 0;
    watcher = new RootWatcher(
      { certificates: { renewAll: () => void renewals++ }, clock, logger: noLogger, random: () => 0.5 },
      { kind: "file", path },
    );
  });
  afterEach(async () => {
    await watcher.stop();
    await rm(folder, { recursive: true });
  });
  /** Lets time pass until it has come so far; files are read in real time. */
  const untilRenewals = async (count: number): Promise<void> =>
    await eventually(async () => {
      await clock.advance(5_000);
      expect(renewals).toBe(count);
    });

  test("renews everything once for each change, also when the file is replaced as the kubelet does", async () => {
    await writeFile(path, "old");
    await watcher.start();
    await writeFile(path, "old and new");
    await untilRenewals(1);
    await writeFile(join(folder, "next"), "new");
    await rename(join(folder, "next"), path);
    await untilRenewals(2);
  });

  test("bears that the file is not there yet or not any more, and does not take its first content for a change", async () => {
    await watcher.start();
    await writeFile(path, "old");
    for (let look = 0; look < 20; look++) await eventually(async () => await clock.advance(5_000));
    await writeFile(path, "new");
    await untilRenewals(1);
    await rm(path);
    await clock.advance(5_000);
    await writeFile(path, "newer");
    await untilRenewals(2);
  });
});
