import type { Arena } from "../arena/arena.ts";
import type { Target } from "../arena/load-generator.ts";
import type { Host } from "../arena/network.ts";
import type { Program } from "../arena/program.ts";

/** A way from a client to an application, through some proxies or none. */
export interface Lane {
  readonly id: string;
  readonly title: string;
  /** `tcp`: carries any bytes, by capture. `http`: understands requests. */
  readonly kind: "tcp" | "http";
  /** Starts everything. Throws {@link AbsentError} when the machine has not got what it needs. */
  start(arena: Arena): Promise<RunningLane>;
}

export interface RunningLane {
  readonly client: Host;
  readonly target: Target;
  /** Whose CPU and memory is measured. */
  readonly proxies: readonly Program[];
  /** All that was started, proxies included, in the order of starting. */
  readonly programs: readonly Program[];
  /** What the table says besides, of versions and engines. */
  readonly remark?: string;
}

/** The lane cannot be had here; its row says why. */
export class AbsentError extends Error {}
