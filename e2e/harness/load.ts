import type { CallLoop, ToldCall } from "./call-loop.ts";
import { type PodName, report, type ScenarioMesh } from "./scenario-mesh.ts";

const intervalMs = 20;

/** What became of the calls of one kind. */
export interface LoadResult {
  readonly calls: readonly ToldCall[];
  readonly failed: readonly ToldCall[];
  readonly slowestMs: number;
}

export interface LoadResults {
  /** Every call on a connection of its own. */
  readonly fresh: LoadResult;
  /** All calls on one connection, or on the next when that has ended. */
  readonly keptAlive: LoadResult;
}

/** Two loops of calls of one URL, one with a connection each and one with keep-alive. Nothing is tried twice. */
export class Load {
  readonly fresh: CallLoop;
  readonly keptAlive: CallLoop;

  private constructor(fresh: CallLoop, keptAlive: CallLoop) {
    this.fresh = fresh;
    this.keptAlive = keptAlive;
  }

  /** Resolves when both have been answered. */
  static async start(mesh: ScenarioMesh, from: PodName, url: string): Promise<Load> {
    const [fresh, keptAlive] = await Promise.all([
      mesh.startCalls(from, { url, intervalMs }),
      mesh.startCalls(from, { url, intervalMs, keepAlive: true }),
    ]);
    await Promise.all([fresh, keptAlive].map((loop) => loop.first(0, isServed)));
    return new Load(fresh, keptAlive);
  }

  async more(count: number): Promise<void> {
    await Promise.all([this.fresh.more(count), this.keptAlive.more(count)]);
  }

  /** Ends it and reports: `what: 0 of 800 new, 0 of 812 kept-alive calls failed, …`. */
  async stop(what: string): Promise<LoadResults> {
    const [fresh, keptAlive] = (await Promise.all([this.fresh.stop(), this.keptAlive.stop()])).map(resultOf) as [
      LoadResult,
      LoadResult,
    ];
    const told = (result: LoadResult, kind: string): string =>
      `${result.failed.length} of ${result.calls.length} ${kind}`;
    const slowestMs = Math.max(fresh.slowestMs, keptAlive.slowestMs);
    report(
      `${what}: ${told(fresh, "new")}, ${told(keptAlive, "kept-alive")} calls failed, the slowest took ${slowestMs} ms`,
    );
    return { fresh, keptAlive };
  }
}

export const isServed = (call: ToldCall): boolean => call.status === 200;

function resultOf(calls: readonly ToldCall[]): LoadResult {
  return {
    calls,
    failed: calls.filter((call) => !isServed(call)),
    slowestMs: Math.max(...calls.map(({ startedAt, at }) => at - startedAt)),
  };
}
