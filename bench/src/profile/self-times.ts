// V8's CPU profiles (node --cpu-prof), reduced to the functions in which the time was spent.

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    /** From 0; -1: no script. */
    readonly lineNumber: number;
  };
}

/** A .cpuprofile file. Times are microseconds of the system's monotonic clock. */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface TimeWindow {
  readonly startUs: number;
  readonly endUs: number;
}

export interface SelfTime {
  /** `relay  packages/hbone/src/relay.ts:31`. */
  readonly place: string;
  /** Of the busy time of all profiles, 0 to 1. */
  readonly share: number;
}

export interface SelfTimes {
  /** Seconds that were not idle, of all threads together. */
  readonly busySeconds: number;
  /** Largest first. */
  readonly functions: readonly SelfTime[];
}

const idle = "(idle)";

/** Sums profiles (the threads of one process) within a window; `root` is cut off from paths. */
export function selfTimes(profiles: readonly CpuProfile[], window: TimeWindow, root: string): SelfTimes {
  const microseconds = new Map<string, number>();
  let busyUs = 0;
  for (const profile of profiles) {
    const places = new Map(profile.nodes.map((node) => [node.id, placeOf(node, root)]));
    let atUs = profile.startTime;
    for (const [index, delta] of profile.timeDeltas.entries()) {
      atUs += delta;
      // A sample stands for the time since the one before it.
      const place = places.get(profile.samples[index] ?? 0) ?? "";
      if (place === idle || atUs < window.startUs || atUs > window.endUs) continue;
      microseconds.set(place, (microseconds.get(place) ?? 0) + delta);
      busyUs += delta;
    }
  }
  const functions = [...microseconds]
    .map(([place, time]) => ({ place, share: time / busyUs }))
    .sort((left, right) => right.share - left.share);
  return { busySeconds: busyUs / 1e6, functions };
}

function placeOf({ callFrame }: ProfileNode, root: string): string {
  const { functionName, url, lineNumber } = callFrame;
  const name = functionName === "" ? "(anonymous)" : functionName;
  if (url === "") return name;
  const path = url.replace(/^file:\/\//, "").replace(`${root}/`, "");
  return `${name}  ${path.replace(/^.*\/node_modules\//, "")}:${lineNumber + 1}`;
}
