import type { MeshUpdate } from "@hairpin/shared/discovery";
import type { Certificate } from "@hairpin/shared/identity";
import type { Identity } from "@hairpin/shared/model";
import type { MetricChange } from "@hairpin/shared/telemetry";
import type { ZtunnelConfig } from "../config.ts";
import type { NodeConnections } from "../connection-table.ts";
import type { DrainReport } from "../data-plane.ts";
import type { PodIdentity } from "../pod-proxy.ts";

/** What a worker is started with. */
export interface WorkerStart {
  /** From 1. */
  readonly number: number;
  readonly config: ZtunnelConfig;
  /** As the logger of main has it now. */
  readonly logLevels: string;
}

export interface PodRequest {
  readonly pod: PodIdentity;
  /** Open in this process, and main's, at least until the pod was removed from the worker: the worker opens its own from it. */
  readonly netnsFd: number;
}

/** Finished log lines, each with its newline. */
export interface LogBatch {
  readonly lines: readonly string[];
  /** Lines that were lost before these, because main did not take earlier ones. */
  readonly dropped: number;
}

/** The last words of a worker. */
export interface WorkerFailure {
  readonly error: string;
  readonly stack: string | undefined;
  readonly metrics: readonly MetricChange[];
}

/** What main asks of a worker. */
export interface WorkerMethods {
  /** The first ones are the whole mesh. */
  applyMesh(update: MeshUpdate): void;
  /** Once, after the whole mesh and before the first pod. */
  serve(): Promise<void>;
  /** Answered when the pod's listeners are bound. The same pod again in the same netns changes nothing. */
  addPod(request: PodRequest): Promise<void>;
  removePod(uid: string): Promise<void>;
  connections(): Promise<NodeConnections>;
  takeMetrics(): readonly MetricChange[];
  /** Of a certificate that may be held. */
  renewCertificate(certificate: Certificate): void;
  setLogLevels(directive: string): void;
  /** Answered when the last connection has ended, or at the deadline. */
  drain(deadlineMs: number): Promise<DrainReport>;
  /** Ends all connections at once, and the thread after the answer. */
  stop(): Promise<void>;
}

/** What a worker asks of main. */
export interface MainMethods {
  fetchCertificate(identity: Identity): Promise<Certificate>;
  /** Answered when the lines were written or dropped: the worker counts what is on the way. */
  writeLog(batch: LogBatch): void;
  fail(failure: WorkerFailure): void;
}
