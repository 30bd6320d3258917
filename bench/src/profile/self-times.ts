// V8's CPU profiles (node --cpu-prof), reduced to the functions and files in which the time was spent.

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    /** From 0; -1: no script. */
    readonly lineNumber: number;
  };
  readonly children?: readonly number[];
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

export interface TimeShare {
  /** `relay  packages/hbone/src/relay.ts:31`, or a file. */
  readonly place: string;
  /** Of the busy time of all profiles, 0 to 1. */
  readonly share: number;
}

export interface SelfTimes {
  /** Seconds that were not idle, of all threads together. */
  readonly busySeconds: number;
  /** Where the time was spent itself; largest first. */
  readonly functions: readonly TimeShare[];
  /** The same by the project's file that was at work or had called Node, V8 or the kernel; largest first. */
  readonly files: readonly TimeShare[];
}

const idle = "(idle)";
/** For what no file of the project called: the garbage collector, Node's own loop. */
const nobody = "(nobody's)";

/** Where one node of a profile belongs. */
interface Place {
  readonly function: string;
  readonly file: string;
}

/** Sums profiles (the threads of one process) within a window; `root` is cut off from paths. */
export function selfTimes(profiles: readonly CpuProfile[], window: TimeWindow, root: string): SelfTimes {
  const functions = new Map<string, number>();
  const files = new Map<string, number>();
  let busyUs = 0;
  for (const profile of profiles) {
    const places = placesOf(profile, root);
    let atUs = profile.startTime;
    for (const [index, delta] of profile.timeDeltas.entries()) {
      atUs += delta;
      // A sample stands for the time since the one before it.
      const place = places.get(profile.samples[index] ?? 0);
      if (place === undefined || place.function === idle || atUs < window.startUs || atUs > window.endUs) continue;
      functions.set(place.function, (functions.get(place.function) ?? 0) + delta);
      files.set(place.file, (files.get(place.file) ?? 0) + delta);
      busyUs += delta;
    }
  }
  return { busySeconds: busyUs / 1e6, functions: shares(functions, busyUs), files: shares(files, busyUs) };
}

function shares(microseconds: ReadonlyMap<string, number>, busyUs: number): readonly TimeShare[] {
  return [...microseconds]
    .map(([place, time]) => ({ place, share: time / busyUs }))
    .sort((left, right) => right.share - left.share);
}

function placesOf({ nodes }: CpuProfile, root: string): ReadonlyMap<number, Place> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const places = new Map<number, Place>();
  const visit = (node: ProfileNode, callerFile: string): void => {
    const path = pathOf(node, root);
    const isOurs = path !== undefined && !path.startsWith("node:") && !path.startsWith("node_modules/");
    const file = isOurs ? path : callerFile;
    places.set(node.id, { function: functionOf(node, path), file });
    for (const id of node.children ?? []) {
      const child = byId.get(id);
      if (child !== undefined) visit(child, file);
    }
  };
  const [rootNode] = nodes;
  if (rootNode !== undefined) visit(rootNode, nobody);
  return places;
}

/** Undefined for what has no script. */
function pathOf({ callFrame }: ProfileNode, root: string): string | undefined {
  if (callFrame.url === "") return undefined;
  const path = callFrame.url.replace(/^file:\/\//, "").replace(`${root}/`, "");
  return path.replace(/^.*\/node_modules\//, "node_modules/");
}

function functionOf({ callFrame }: ProfileNode, path: string | undefined): string {
  const name = callFrame.functionName === "" ? "(anonymous)" : callFrame.functionName;
  return path === undefined ? name : `${name}  ${path}:${callFrame.lineNumber + 1}`;
}
