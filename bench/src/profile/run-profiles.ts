// `pnpm bench --profile`: where our proxies spend their time, load by load.
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorMessage } from "@hairpin/shared/process";
import type { Arena } from "../arena/arena.ts";
import { projectRoot } from "../arena/project.ts";
import type { Program } from "../arena/program.ts";
import { waitUntil } from "../arena/wait-until.ts";
import { engineLane } from "../lane/http-proxies.ts";
import type { Lane, RunningLane } from "../lane/lane.ts";
import { wholePathLane } from "../lane/whole-path.ts";
import { hairpinPairLane } from "../lane/ztunnel-pair.ts";
import { pick } from "../selection.ts";
import { cpuSeconds } from "../measure/process-cpu.ts";
import { measures } from "../measure/measures.ts";
import { type CpuProfile, selfTimes, type TimeShare, type TimeWindow } from "./self-times.ts";

/** How long a proxy may take to write its profile at its end. */
const stopTimeoutMs = 20_000;
const answerTimeoutMs = 30_000;
const shownFunctions = 20;
const shownFiles = 20;
const profiledMeasures = ["upload", "requests", "churn"];

/** A lane, for each kind of load, whose proxies write profiles into a folder. */
const subjects: readonly { readonly id: string; readonly create: (folder: string) => Lane }[] = [
  {
    id: "hairpin-libssl",
    create: (profileDirectory) => hairpinPairLane({ engine: "libssl", profileDirectory }),
  },
  {
    id: "hairpin-node-tls",
    create: (profileDirectory) => hairpinPairLane({ engine: "node-tls", profileDirectory }),
  },
  { id: "engine", create: engineLane },
  { id: "whole-libssl", create: (profileDirectory) => wholePathLane({ engine: "libssl", profileDirectory }) },
  { id: "whole-node-tls", create: (profileDirectory) => wholePathLane({ engine: "node-tls", profileDirectory }) },
];

/** Profiles what `--only` names, else everything of ours; prints a table for each proxy and load. */
export async function runProfiles(arena: Arena): Promise<void> {
  const { only } = arena.options;
  const loads = measures.filter(({ id }) => only.includes(id) || profiledMeasures.includes(id));
  for (const subject of pick(subjects, only)) {
    for (const load of pick(loads, only)) {
      try {
        await profileOne(arena, subject, load);
      } catch (error) {
        console.log(`## ${subject.id}, ${load.id}: not profiled, ${errorMessage(error)}\n`);
      }
    }
  }
}

async function profileOne(
  arena: Arena,
  subject: (typeof subjects)[number],
  load: (typeof measures)[number],
): Promise<void> {
  const folder = join(arena.directory, `profile-${subject.id}-${load.id}`);
  await mkdir(folder);
  const lane = await subject.create(folder).start(arena);
  await waitUntil("no answer", answerTimeoutMs, () => arena.load.requests(lane.client, lane.target, 1, 0.2));
  const context = { load: arena.load, lane, seconds: arena.options.seconds, quick: true };
  // What compilers do at the start would be shown else.
  await load.run(context);
  const startUs = nowUs();
  const figures = await load.run(context);
  const window = { startUs, endUs: nowUs() };
  const used = lane.proxies.map(({ pid }) => cpuSeconds([pid]));
  const shown = Object.entries(figures).map(([id, value]) => `${id} ${value.toFixed(3)}`);
  console.log(`## ${subject.id}, ${load.id}: ${shown.join(", ")}\n`);
  for (const [index, proxy] of lane.proxies.entries()) {
    await proxy.stop(stopTimeoutMs);
    await printProfile(folder, proxy, { window, cpu: used[index] ?? 0 });
  }
  await stopAll(lane);
}

async function printProfile(
  folder: string,
  proxy: Program,
  { window, cpu }: { readonly window: TimeWindow; readonly cpu: number },
): Promise<void> {
  // CPU.<date>.<time>.<pid>.<thread>.<number>.cpuprofile
  const names = (await readdir(folder)).filter((name) => name.split(".")[3] === String(proxy.pid));
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
  const profiles = texts.map((text) => JSON.parse(text) as CpuProfile);
  const { busySeconds, functions, files } = selfTimes(profiles, window, projectRoot);
  console.log(`### ${proxy.name}: ${busySeconds.toFixed(2)} s busy (${cpu.toFixed(2)} s CPU with its start)\n`);
  printShares("by function, itself", functions.slice(0, shownFunctions));
  printShares("by file, with what it called in Node and the kernel", files.slice(0, shownFiles));
}

function printShares(title: string, shares: readonly TimeShare[]): void {
  console.log(title);
  for (const { place, share } of shares) console.log(`${(share * 100).toFixed(1).padStart(6)} %  ${place}`);
  console.log("");
}

async function stopAll({ programs }: RunningLane): Promise<void> {
  await Promise.all(programs.map((program) => program.stop()));
}

/** Of the system's monotonic clock, as profiles have it. */
function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
