import { setTimeout as delay } from "node:timers/promises";
import type { LoadGenerator } from "../arena/load-generator.ts";
import type { RunningLane } from "../lane/lane.ts";
import type { Figures } from "./figure.ts";
import { cpuSeconds, residentMebibytes } from "./process-cpu.ts";

export interface MeasureContext {
  readonly load: LoadGenerator;
  readonly lane: RunningLane;
  readonly seconds: number;
  readonly quick: boolean;
}

/** One kind of load, and the figures that it gives. */
export interface Measure {
  readonly id: string;
  /** False: once is enough. */
  readonly repeated: boolean;
  run(context: MeasureContext): Promise<Figures>;
}

const bitsPerByte = 8;
/** Memory is read when garbage of the connections' start had time to go. */
const settleMs = 700;

/** In the order in which they are made: memory while the proxies are fresh. */
export const measures: readonly Measure[] = [
  { id: "memory", repeated: false, run: measureMemory },
  { id: "upload", repeated: true, run: async (context) => await measureUpload(context, 1, "gbit1", "cpuPerGbit1") },
  { id: "uploads", repeated: true, run: async (context) => await measureUpload(context, 8, "gbit8", "cpuPerGbit8") },
  { id: "requests", repeated: true, run: measureRequests },
  { id: "latency", repeated: true, run: measureLatency },
  {
    id: "churn",
    repeated: true,
    run: async (context) => await measureChurn(context, "client", "churnClient", "cpuPerChurnClient"),
  },
  {
    id: "churn-server",
    repeated: true,
    run: async (context) => await measureChurn(context, "server", "churnServer", "cpuPerChurnServer"),
  },
];

/** Compilers, tunnels and kept connections of a lane get ready, as after a while of use; nothing of it is counted. */
export async function warmUp({ load, lane, quick }: MeasureContext): Promise<void> {
  const seconds = quick ? 0.5 : 1.2;
  await load.requests(lane.client, lane.target, 64, seconds);
  await load.upload(lane.client, lane.target, 1, seconds / 2);
  await load.churn(lane.client, lane.target, "client", seconds);
}

async function measureUpload(
  { load, lane, seconds }: MeasureContext,
  streams: number,
  rate: string,
  cost: string,
): Promise<Figures> {
  const { result, cpu } = await withCpu(lane, () => load.upload(lane.client, lane.target, streams, seconds));
  const gbit = (bytes: number): number => (bytes * bitsPerByte) / 1e9;
  return { [rate]: gbit(result.bytes) / result.seconds, ...costOf(lane, cost, cpu / gbit(result.allBytes)) };
}

async function measureRequests({ load, lane, seconds }: MeasureContext): Promise<Figures> {
  const { result, cpu } = await withCpu(lane, () => load.requests(lane.client, lane.target, 64, seconds));
  return {
    requestsPerSecond: result.requests / result.seconds,
    p50Many: result.p50Us,
    p99Many: result.p99Us,
    ...costOf(lane, "cpuPerRequest", (cpu / result.allRequests) * 1e6),
  };
}

async function measureLatency({ load, lane, seconds }: MeasureContext): Promise<Figures> {
  const result = await load.requests(lane.client, lane.target, 1, seconds);
  return { p50One: result.p50Us, p99One: result.p99Us };
}

async function measureChurn(
  { load, lane, seconds }: MeasureContext,
  closer: "client" | "server",
  rate: string,
  cost: string,
): Promise<Figures> {
  const { result, cpu } = await withCpu(lane, () => load.churn(lane.client, lane.target, closer, seconds));
  const { connections, allConnections, errors } = result;
  if (errors > connections / 100) throw new Error(`${errors} of ${allConnections} connections failed`);
  return { [rate]: connections / result.seconds, ...costOf(lane, cost, (cpu / allConnections) * 1e6) };
}

async function measureMemory({ load, lane, quick }: MeasureContext): Promise<Figures> {
  const { proxies } = lane;
  if (proxies.length === 0) return {};
  const resident = (): number => proxies.reduce((sum, { pid }) => sum + residentMebibytes(pid), 0) / proxies.length;
  const figures: Record<string, number> = { rssIdle: resident() };
  for (const connections of quick ? [1000] : [1000, 5000]) {
    const held = await load.hold(lane.client, lane.target, connections);
    await delay(settleMs);
    figures[`rss${connections}`] = resident();
    await held.release();
  }
  return figures;
}

/** Nothing for a lane without proxies. */
function costOf({ proxies }: RunningLane, name: string, value: number): Figures {
  return proxies.length === 0 ? {} : { [name]: value };
}

async function withCpu<T>({ proxies }: RunningLane, run: () => Promise<T>): Promise<{ result: T; cpu: number }> {
  const pids = proxies.map(({ pid }) => pid);
  const before = cpuSeconds(pids);
  const result = await run();
  return { result, cpu: cpuSeconds(pids) - before };
}
