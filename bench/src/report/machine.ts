import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";

/** What the figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  readonly openssl: string;
  /** Of the revision that was measured; empty outside a repository. */
  readonly revision: string;
}

export function describeMachine(revision: string): Machine {
  const model = cpus()[0]?.model.trim() ?? "unknown";
  const features = ["aes", "vaes", "avx512f"].filter((flag) => cpuFlags().has(flag));
  return {
    cpu: `${model} (${features.join(", ")})`,
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 1024 ** 3),
    kernel: release(),
    node: process.versions.node,
    openssl: process.versions["openssl"] ?? "",
    revision,
  };
}

function cpuFlags(): ReadonlySet<string> {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "";
  return new Set(line.trim().split(" "));
}
