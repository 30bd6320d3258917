import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errorMessage } from "@hairpin/shared/process";
import { Arena } from "./arena/arena.ts";
import { buildLoadGenerator } from "./arena/load-generator.ts";
import { createNetwork } from "./arena/network.ts";
import { projectRoot } from "./arena/project.ts";
import { runCommand } from "./arena/run-command.ts";
import { waitUntil } from "./arena/wait-until.ts";
import type { InsideOrder } from "./launch.ts";
import { AbsentError, type Lane, type RunningLane } from "./lane/lane.ts";
import type { Figures } from "./measure/figure.ts";
import { ForeignCpu } from "./measure/foreign-cpu.ts";
import { type Measure, warmUp } from "./measure/measures.ts";
import { select } from "./selection.ts";
import { runProfiles } from "./profile/run-profiles.ts";
import { describeMachine } from "./report/machine.ts";
import type { BenchResults, LaneResult } from "./report/results.ts";
import { maxForeignShare, type Sample, summarize } from "./report/statistics.ts";
import { renderReport } from "./report/table.ts";

const answerTimeoutMs = 30_000;
const resultsFolder = join(projectRoot, "bench/results");

/** A lane in this run. */
interface Contestant {
  readonly lane: Lane;
  readonly running: RunningLane | undefined;
  readonly absent: string | undefined;
  readonly samples: Map<string, Sample[]>;
  readonly failures: Set<string>;
}

/** Measures every lane that can be had here and prints the report; a full run is kept in bench/results. */
export async function runBench({ options, directory, hostProc }: InsideOrder): Promise<void> {
  const chosen = select(options.only);
  const startedAt = new Date();
  const begin = performance.now();
  await createNetwork();
  const arena = new Arena({ load: await buildLoadGenerator(directory) }, options, directory);
  if (options.profile) return await runProfiles(arena);
  const contestants: Contestant[] = [];
  for (const lane of chosen.lanes) contestants.push(await enter(lane, arena));
  const secondTries = Math.ceil(contestants.length * chosen.measures.length * options.repeat * secondTryShare);
  const tools: MeasureTools = { arena, foreign: new ForeignCpu(hostProc), secondTries };
  for (const [index, measure] of chosen.measures.entries()) {
    // Memory comes first, of proxies that have just started.
    if (measure.repeated && chosen.measures[index - 1]?.repeated !== true) await warmUpAll(contestants, arena);
    const rounds = measure.repeated ? options.repeat : 1;
    // Round by round over all lanes: what disturbs the machine for a while does not hit one lane alone.
    for (let round = 1; round <= rounds; round++) {
      say(`${measure.id}${rounds === 1 ? "" : ` ${round}/${rounds}`}`);
      for (const contestant of contestants) await measureOne(contestant, measure, tools);
    }
  }
  const results: BenchResults = {
    startedAt: startedAt.toISOString(),
    durationSeconds: (performance.now() - begin) / 1000,
    machine: describeMachine(await revision()),
    options: { seconds: options.seconds, repeat: options.repeat, quick: options.quick },
    lanes: contestants.map(resultOf),
  };
  const report = renderReport(results);
  console.log(`\n${report}`);
  if (options.only.length === 0 && !options.quick) await keep(results, report);
}

async function warmUpAll(contestants: readonly Contestant[], { load, options }: Arena): Promise<void> {
  say("warming up");
  for (const { running, failures } of contestants) {
    if (running === undefined) continue;
    try {
      await warmUp({ load, lane: running, ...options });
    } catch (error) {
      failures.add(`warm-up failed: ${errorMessage(error)}`);
    }
  }
}

/** Starts a lane and waits until a request comes through. */
async function enter(lane: Lane, arena: Arena): Promise<Contestant> {
  const contestant = { lane, samples: new Map<string, Sample[]>(), failures: new Set<string>() };
  say(`starting ${lane.title}`);
  try {
    const running = await lane.start(arena);
    await waitUntil(`${lane.title} does not answer`, answerTimeoutMs, async () => {
      for (const program of running.programs) program.check();
      await arena.load.requests(running.client, running.target, 1, 0.05);
    });
    return { ...contestant, running, absent: undefined };
  } catch (error) {
    if (!(error instanceof AbsentError)) say(`failed: ${errorMessage(error)}`);
    return { ...contestant, running: undefined, absent: errorMessage(error) };
  }
}

interface MeasureTools {
  readonly arena: Arena;
  readonly foreign: ForeignCpu;
  /** How many more measurements may be made again; on a machine that is never quiet the run must end too. */
  secondTries: number;
}

/** Part of all measurements that may be made again. */
const secondTryShare = 0.15;

/** Measures once, and once more when something else kept the machine busy: the quieter one counts. */
async function measureOne(contestant: Contestant, measure: Measure, tools: MeasureTools): Promise<void> {
  const { running, samples, failures } = contestant;
  if (running === undefined) return;
  const { foreign } = tools;
  const { load, options } = tools.arena;
  const attempt = async (): Promise<{ readonly figures: Figures; readonly foreignShare: number }> => {
    const shareSince = foreign.begin();
    const figures = await measure.run({ load, lane: running, seconds: options.seconds, quick: options.quick });
    return { figures, foreignShare: shareSince() };
  };
  try {
    for (const program of running.programs) program.check();
    let best = await attempt();
    if (best.foreignShare > maxForeignShare && measure.repeated && tools.secondTries-- > 0) {
      const again = await attempt();
      if (again.foreignShare < best.foreignShare) best = again;
    }
    for (const [id, value] of Object.entries(best.figures))
      samples.set(id, [...(samples.get(id) ?? []), { value, foreignShare: best.foreignShare }]);
  } catch (error) {
    failures.add(`${measure.id} failed: ${errorMessage(error)}`);
  }
}

function resultOf({ lane, running, absent, samples, failures }: Contestant): LaneResult {
  const figures = [...samples].map(([id, values]) => [id, summarize(values)] as const);
  return {
    id: lane.id,
    title: lane.title,
    kind: lane.kind,
    ...(absent === undefined ? {} : { absent }),
    ...(running?.remark === undefined ? {} : { remark: running.remark }),
    figures: Object.fromEntries(figures),
    failures: [...failures],
  };
}

async function keep(results: BenchResults, report: string): Promise<void> {
  const name = results.startedAt.slice(0, 16).replace(":", "");
  await mkdir(resultsFolder, { recursive: true });
  await writeFile(join(resultsFolder, `${name}.json`), `${JSON.stringify(results, undefined, 2)}\n`);
  await writeFile(join(resultsFolder, `${name}.md`), report);
  say(`kept as bench/results/${name}.json and .md`);
}

async function revision(): Promise<string> {
  const describe = ["git", "-C", projectRoot, "describe", "--always", "--dirty"];
  return (await runCommand(describe).catch(() => "")).trim();
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}
