/** Throw-away network namespaces for the tests of this package. */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import type { NetnsHandle } from "./linux/netns.ts";
import { openNetns } from "./linux/netns.ts";

export interface TestNetns extends Disposable {
  readonly handle: NetnsHandle;
  readonly path: string;
  /** Runs a command inside; throws with its stderr. */
  run(command: string, input?: string): string;
}

/** A namespace with loopback up. Needs CAP_SYS_ADMIN. */
export function createTestNetns(): TestNetns {
  const name = `hairpin-test-${randomUUID().slice(0, 8)}`;
  const env = { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" };
  execFileSync("ip", ["netns", "add", name], { env });
  const run = (command: string, input = ""): string =>
    execFileSync("ip", ["netns", "exec", name, "sh", "-ec", command], { env, input, encoding: "utf8" });
  run("ip link set lo up");
  const path = `/run/netns/${name}`;
  const handle = openNetns(path);
  return {
    handle,
    path,
    run,
    [Symbol.dispose]() {
      handle.close();
      execFileSync("ip", ["netns", "del", name], { env });
    },
  };
}
