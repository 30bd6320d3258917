/** From most to least talkative. `off` silences a scope. */
export const logLevels = ["trace", "debug", "info", "warn", "error", "off"] as const;
export type LogLevel = (typeof logLevels)[number];

const rank = new Map<string, number>(logLevels.map((level, index) => [level, index]));
const scopePattern = /^[A-Za-z0-9_:.-]{1,128}$/;

/** More scopes than this in one directive are refused: each new logger walks them. */
const maxScopes = 64;

/**
 * Which lines are written: one level for all and exceptions per scope, changeable while running (POST /logging). Text form
 * as RUST_LOG: `info`, or `warn,xds=debug,proxy::inbound=trace`; a scope covers the scopes below it (`xds` covers `xds::client`).
 */
export class LogLevels {
  readonly #initial: string;
  #global: LogLevel = "info";
  #scopes: ReadonlyMap<string, LogLevel> = new Map();
  readonly #listeners = new Set<(directive: string) => void>();
  /** Changes whenever a level does; loggers re-read their level then. */
  generation = 0;

  /** Throws `Error` that names the bad part of the directive. */
  constructor(directive: string = "info") {
    this.#initial = directive;
    this.set(directive);
  }

  /** Applies the directive on top of what is set. All or nothing: throws `Error` naming the bad part and what is accepted. */
  set(directive: string): void {
    this.#apply(directive, this.#global, this.#scopes);
  }

  /** Sets the directive and nothing that was set before. Throws as {@link set}. */
  replace(directive: string): void {
    this.#apply(directive, "info", new Map());
  }

  /** Back to what the process started with. */
  reset(): void {
    this.replace(this.#initial);
  }

  /** Calls back with the whole directive after each change. Returns what takes the listener off. */
  onChange(listener: (directive: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The level of a scope: that of its longest prefix that has one. */
  levelOf(scope: string): LogLevel {
    let best = "";
    for (const candidate of this.#scopes.keys()) {
      const covers = scope === candidate || scope.startsWith(`${candidate}::`);
      if (covers && candidate.length > best.length) best = candidate;
    }
    return this.#scopes.get(best) ?? this.#global;
  }

  isEnabled(level: LogLevel, scope: string): boolean {
    return (rank.get(level) ?? 0) >= (rank.get(this.levelOf(scope)) ?? 0);
  }

  /** As POST /logging answers: `xds=debug,info`. */
  toString(): string {
    return [...[...this.#scopes].map(([scope, level]) => `${scope}=${level}`), this.#global].join(",");
  }

  #apply(directive: string, globalBefore: LogLevel, scopesBefore: ReadonlyMap<string, LogLevel>): void {
    const scopes = new Map(scopesBefore);
    let global = globalBefore;
    for (const part of directive.split(",")) {
      const [left = "", right, ...rest] = part.trim().split("=");
      if (rest.length > 0) throw new Error(`Log level ${JSON.stringify(part)} is not level or scope=level`);
      if (right === undefined) global = parseLevel(left);
      else if (scopePattern.test(left)) scopes.set(left, parseLevel(right));
      else throw new Error(`Log scope ${JSON.stringify(left)} may only have letters, digits, _ : . -`);
    }
    if (scopes.size > maxScopes) throw new Error(`More than ${maxScopes} log scopes; reset first`);
    this.#global = global;
    this.#scopes = scopes;
    this.generation++;
    for (const listener of this.#listeners) listener(this.toString());
  }
}

function parseLevel(text: string): LogLevel {
  const level = logLevels.find((one) => one === text.toLowerCase());
  if (level === undefined)
    throw new Error(`Log level ${JSON.stringify(text)} is unknown: give one of ${logLevels.join(", ")}`);
  return level;
}
