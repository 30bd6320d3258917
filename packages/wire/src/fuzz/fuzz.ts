import type { CoverageMeter } from "./coverage-meter.ts";
import { mutate } from "./mutate.ts";
import { Random } from "./random.ts";

/** What is fuzzed, and what must hold for every input. */
export interface FuzzTarget {
  readonly name: string;
  /** Inputs to begin with; valid ones reach deepest. */
  readonly seeds: readonly Uint8Array[];
  /** Pieces that inputs are made of. */
  readonly dictionary?: readonly Uint8Array[];
  /** An input made from scratch, by a grammar. */
  generate?(random: Random): Uint8Array;
  /** Throws when the input shows a fault; returns for good and for refused inputs. */
  run(input: Uint8Array): void;
}

export interface FuzzOptions {
  readonly seed: number;
  /** Asked before each batch; false ends the run. */
  readonly goOn: (executions: number) => boolean;
  /** With it, inputs that reach new code join the corpus. */
  readonly coverage?: CoverageMeter;
}

export interface FuzzReport {
  readonly executions: number;
  /** Inputs that reached new code and were kept. */
  readonly keptInputs: number;
  readonly finding?: FuzzFinding;
}

export interface FuzzFinding {
  /** Made as small as a few thousand attempts could. */
  readonly input: Uint8Array;
  readonly error: unknown;
}

/** Coverage is looked at once a batch: a look costs some milliseconds. */
const batchSize = 256;

/** Runs the target on its seeds, then on mutations of its corpus, until `goOn` says no or an input shows a fault. */
export function fuzz(target: FuzzTarget, options: FuzzOptions): FuzzReport {
  const random = new Random(options.seed);
  const corpus: Uint8Array[] = [...target.seeds];
  const dictionary = target.dictionary ?? [];
  let executions = 0;
  let keptInputs = 0;
  let batch: Uint8Array[] = [...corpus];
  for (;;) {
    for (const input of batch) {
      executions++;
      const error = faultOf(target, input);
      if (error !== undefined) return { executions, keptInputs, finding: minimize(target, input, error) };
    }
    if (options.coverage !== undefined && options.coverage.take(false) > 0) {
      const kept = findPathfinders(target, batch, options.coverage).filter((input) => !corpus.includes(input));
      corpus.push(...kept);
      keptInputs += kept.length;
    }
    if (!options.goOn(executions)) return { executions, keptInputs };
    batch = Array.from({ length: batchSize }, () => nextInput(target, random, { corpus, dictionary }));
  }
}

/** The inputs of a batch that reach new code, found by halving: a look at coverage costs more than many runs. */
function findPathfinders(target: FuzzTarget, inputs: readonly Uint8Array[], coverage: CoverageMeter): Uint8Array[] {
  const isSingle = inputs.length === 1;
  for (const input of inputs) target.run(input);
  if (coverage.take(isSingle) === 0) return [];
  if (isSingle) return [...inputs];
  const middle = inputs.length >> 1;
  return [inputs.slice(0, middle), inputs.slice(middle)].flatMap((half) => findPathfinders(target, half, coverage));
}

function nextInput(
  target: FuzzTarget,
  random: Random,
  material: { readonly corpus: readonly Uint8Array[]; readonly dictionary: readonly Uint8Array[] },
): Uint8Array {
  if (target.generate === undefined || !random.chance(4)) return mutate(random.pick(material.corpus), random, material);
  const made = target.generate(random);
  return random.chance(2) ? made : mutate(made, random, material);
}

function faultOf(target: FuzzTarget, input: Uint8Array): unknown {
  try {
    target.run(input);
    return undefined;
  } catch (error) {
    return error ?? new Error("undefined was thrown");
  }
}

/** Cuts pieces out while the fault stays. */
function minimize(target: FuzzTarget, input: Uint8Array, error: unknown): FuzzFinding {
  let best: FuzzFinding = { input, error };
  let attempts = 4000;
  for (let size = Math.ceil(input.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.input.length && attempts > 0;) {
      attempts--;
      const candidate = Buffer.concat([best.input.subarray(0, at), best.input.subarray(at + size)]);
      const stillWrong = faultOf(target, candidate);
      if (stillWrong === undefined) at += size;
      else best = { input: candidate, error: stillWrong };
    }
  }
  return best;
}
