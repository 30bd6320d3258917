import type { NodeConnections } from "./connection-table.ts";
import type { PodServer } from "./pods.ts";

/** How draining ended. */
export interface DrainReport {
  readonly outcome: "empty" | "deadline";
  /** Still open. */
  readonly connections: number;
}

/**
 * Everything that touches traffic, as the rest of the process sees it: in this thread, or in worker threads.
 * Made → started (`start`: threads run) → serving (`serve`: once the mesh is known, pods may be added) → drained → stopped.
 */
export interface DataPlane {
  readonly pods: PodServer;
  start(): Promise<void>;
  /** Call it once the mesh is known: nothing is served before (fail closed). */
  serve(): Promise<void>;
  /** Resolves when every thread decides by what the mesh holds now. */
  whenFollowed(): Promise<void>;
  connections(): Promise<NodeConnections>;
  /** No new connections; resolves when the open ones have ended, or at the deadline. */
  drain(deadlineMs: number): Promise<DrainReport>;
  /** Ends everything at once. Idempotent. */
  stop(): Promise<void>;
}
