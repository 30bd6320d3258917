import { Session, type Profiler } from "node:inspector";

/** Which source bytes ran, by V8's own block counters; the feedback that makes fuzzing find its way into a parser. */
export class CoverageMeter {
  readonly #session = new Session();
  readonly #folder: string;
  readonly #ignored: string;
  /** By function: a flag for each byte of its source. */
  readonly #covered = new Map<string, Uint8Array>();
  /** Reports whose bytes are all covered: most are repeated again and again. */
  readonly #spent = new Set<string>();

  /** Looks at scripts whose URL contains `folder` and not `ignored`. */
  constructor(folder: string, ignored: string) {
    this.#folder = folder;
    this.#ignored = ignored;
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: false, detailed: true });
  }

  /** Source bytes that ran so far. */
  get coveredBytes(): number {
    let sum = 0;
    for (const flags of this.#covered.values()) for (const flag of flags) sum += flag;
    return sum;
  }

  /** How many source bytes ran since the last call that never ran before; `commit` notes them as covered. */
  take(commit: boolean): number {
    let found = 0;
    for (const script of this.#takeScripts()) {
      if (!script.url.includes(this.#folder) || script.url.includes(this.#ignored)) continue;
      for (const coverage of script.functions) found += this.#takeFunction(script.scriptId, coverage, commit);
    }
    return found;
  }

  close(): void {
    this.#session.disconnect();
  }

  #takeScripts(): Profiler.ScriptCoverage[] {
    let scripts: Profiler.ScriptCoverage[] = [];
    // A session of this thread answers before post returns.
    this.#session.post("Profiler.takePreciseCoverage", (error, answer) => {
      if (error) throw error;
      scripts = answer.result;
    });
    return scripts;
  }

  #takeFunction(scriptId: string, coverage: Profiler.FunctionCoverage, commit: boolean): number {
    const [whole, ...blocks] = coverage.ranges;
    if (whole === undefined || whole.count === 0) return 0;
    const report = `${scriptId}:${coverage.ranges.map((range) => `${range.startOffset}-${range.endOffset}=${range.count}`).join()}`;
    if (this.#spent.has(report)) return 0;
    const length = whole.endOffset - whole.startOffset;
    const ran = new Uint8Array(length).fill(1);
    // Blocks follow those that enclose them.
    for (const block of blocks) {
      ran.fill(block.count > 0 ? 1 : 0, block.startOffset - whole.startOffset, block.endOffset - whole.startOffset);
    }
    const key = `${scriptId}:${whole.startOffset}:${whole.endOffset}`;
    const known = this.#covered.get(key) ?? new Uint8Array(length);
    let found = 0;
    for (let i = 0; i < length; i++) {
      if (ran[i] === 0 || known[i] === 1) continue;
      found++;
      if (commit) known[i] = 1;
    }
    if (commit) this.#covered.set(key, known);
    if (commit || found === 0) this.#spent.add(report);
    return found;
  }
}
