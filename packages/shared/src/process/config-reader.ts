import { readFileSync } from "node:fs";
import { durationSyntax, formatDuration, tryParseDuration } from "./duration.ts";
import { MeshError } from "./mesh-error.ts";

/** One wrong setting. */
export interface ConfigMistake {
  readonly variable: string;
  /** As given; undefined when it is missing. `<redacted>` for secrets. */
  readonly value: string | undefined;
  /** What is wrong and what is accepted. */
  readonly problem: string;
}

/** All mistakes of a configuration, one line each. main prints the message and exits {@link configExitCode}. */
export class ConfigError extends MeshError {
  readonly mistakes: readonly ConfigMistake[];

  constructor(mistakes: readonly ConfigMistake[]) {
    const lines = mistakes.map((mistake) => `  ${describeMistake(mistake)}`);
    super(`Configuration is wrong:\n${lines.join("\n")}`, { code: "CONFIG_INVALID", origin: "internal" });
    this.mistakes = mistakes;
  }
}

/** sysexits.h EX_USAGE. */
export const configExitCode = 64;

export interface ConfigReaderOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Reads a text file; throws Node's errors. Default: the file system. */
  readonly readFile?: (path: string) => string;
}

interface Limits {
  readonly min?: number;
  readonly max?: number;
}

/**
 * Reads settings from the environment and collects every mistake: a wrong or missing value yields its default (or a neutral
 * value), and `finish()` throws them all together. An empty variable counts as unset. Settings read with `secret: true`, and
 * variables never asked for, do not appear in `describe()`.
 */
export class ConfigReader {
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #readFile: (path: string) => string;
  readonly #mistakes: ConfigMistake[] = [];
  readonly #described = new Map<string, unknown>();

  constructor(options: ConfigReaderOptions) {
    this.#environment = options.environment;
    this.#readFile = options.readFile ?? ((path) => readFileSync(path, "utf8"));
  }

  /** Text; required when no default is given. */
  string(variable: string, defaultValue?: string, options: { readonly secret?: boolean } = {}): string {
    const text = this.#text(variable) ?? defaultValue;
    if (text === undefined) this.#missing(variable, "text");
    return this.#keep(variable, text ?? "", options.secret);
  }

  /** Text, or undefined when unset. */
  optionalString(variable: string, options: { readonly secret?: boolean } = {}): string | undefined {
    return this.#keep(variable, this.#text(variable), options.secret);
  }

  /** A whole number within the limits; required when no default is given. */
  integer(variable: string, defaultValue?: number, limits: Limits = {}): number {
    const min = limits.min ?? 0;
    const max = limits.max ?? Number.MAX_SAFE_INTEGER;
    const accepted = `a whole number from ${min} to ${max}`;
    return this.#parsed(variable, accepted, defaultValue ?? undefined, 0, (text) => {
      const value = /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
      return Number.isSafeInteger(value) && value >= min && value <= max ? value : undefined;
    });
  }

  /** A TCP or UDP port; 0 (any free one) only where `allowZero`. */
  port(variable: string, defaultValue?: number, options: { readonly allowZero?: boolean } = {}): number {
    return this.integer(variable, defaultValue, { min: options.allowZero === true ? 0 : 1, max: 65_535 });
  }

  /** `true`, `false`, `1` or `0`, any case. */
  boolean(variable: string, defaultValue?: boolean): boolean {
    return this.#parsed(variable, "true or false", defaultValue, false, (text) => {
      const lower = text.toLowerCase();
      if (lower === "true" || lower === "1") return true;
      return lower === "false" || lower === "0" ? false : undefined;
    });
  }

  /** Istio's durations (`5s`, `1m`, `24h`, `100ms`) in milliseconds; limits in milliseconds. */
  durationMs(variable: string, defaultValue?: number, limits: Limits = {}): number {
    const min = limits.min ?? 0;
    const max = limits.max ?? Number.MAX_SAFE_INTEGER;
    const range = rangeOfDurations(limits);
    return this.#parsed(variable, `${durationSyntax}${range}`, defaultValue, 0, (text) => {
      const value = tryParseDuration(text);
      return value !== undefined && value >= min && value <= max ? value : undefined;
    });
  }

  /** One of the values, exactly; required when no default is given. */
  oneOf<const T extends string>(variable: string, values: readonly [T, ...T[]], defaultValue?: T): T {
    const accepted = `one of ${values.join(", ")}`;
    return this.#parsed(variable, accepted, defaultValue, values[0], (text) => values.find((value) => value === text));
  }

  /** A comma-separated list; blanks around and empty items are dropped. Default: empty. */
  list(variable: string, defaultValue: readonly string[] = []): readonly string[] {
    const text = this.#text(variable);
    const items = text?.split(",").map((item) => item.trim());
    return this.#keep(variable, items === undefined ? defaultValue : items.filter((item) => item !== ""));
  }

  /**
   * Text that `parse` understands: `undefined` or a thrown error is a mistake, told with what is `accepted`. Required when no
   * default is given.
   */
  parsed<T>(variable: string, accepted: string, parse: (text: string) => T | undefined, defaultValue: T): T {
    return this.#parsed(variable, accepted, defaultValue, defaultValue, parse);
  }

  /** The content of the file that the variable names; undefined when unset. Not readable: a mistake. Only the path is described. */
  optionalFile(variable: string): string | undefined {
    const path = this.optionalString(variable);
    if (path === undefined) return undefined;
    try {
      return this.#readFile(path);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.mistake(variable, path, `cannot be read (${reason}); give the path of a readable file`);
      return undefined;
    }
  }

  /** Records a mistake found by the caller, such as two settings that exclude each other. */
  mistake(variable: string, value: string | undefined, problem: string): void {
    this.#mistakes.push({ variable, value, problem });
  }

  /** Throws {@link ConfigError} when anything was wrong. */
  finish(): void {
    if (this.#mistakes.length > 0) throw new ConfigError(this.#mistakes);
  }

  /** Every setting read so far with its value in effect, by variable name; for /config_dump. Secrets are `<redacted>`. */
  describe(): Readonly<Record<string, unknown>> {
    const byName = [...this.#described].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(byName);
  }

  #text(variable: string): string | undefined {
    const text = Object.hasOwn(this.#environment, variable) ? this.#environment[variable] : undefined;
    return text === undefined || text === "" ? undefined : text;
  }

  #keep<T>(variable: string, value: T, secret = false): T {
    if (value !== undefined) this.#described.set(variable, secret ? redacted : value);
    return value;
  }

  #missing(variable: string, accepted: string): void {
    this.mistake(variable, undefined, `is required: give ${accepted}`);
  }

  #parsed<T>(
    variable: string,
    accepted: string,
    defaultValue: T | undefined,
    neutral: T,
    parse: (text: string) => T | undefined,
  ): T {
    const text = this.#text(variable);
    if (text === undefined) {
      if (defaultValue === undefined) this.#missing(variable, accepted);
      return this.#keep(variable, defaultValue ?? neutral);
    }
    let value: T | undefined;
    let reason = "";
    try {
      value = parse(text);
    } catch (error) {
      reason = ` (${error instanceof Error ? error.message : String(error)})`;
    }
    if (value === undefined) this.mistake(variable, text, `is not accepted${reason}: give ${accepted}`);
    return this.#keep(variable, value ?? defaultValue ?? neutral);
  }
}

const redacted = "<redacted>";

/** Values are cut here in messages: an inline PEM or token must not fill the screen. */
const maxShownValue = 120;

function describeMistake(mistake: ConfigMistake): string {
  if (mistake.value === undefined) return `${mistake.variable} ${mistake.problem}`;
  const shown = mistake.value.length > maxShownValue ? `${mistake.value.slice(0, maxShownValue)}…` : mistake.value;
  return `${mistake.variable}=${JSON.stringify(shown)} ${mistake.problem}`;
}

function rangeOfDurations({ min, max }: Limits): string {
  const parts = [
    ...(min === undefined ? [] : [`at least ${formatDuration(min)}`]),
    ...(max === undefined ? [] : [`at most ${formatDuration(max)}`]),
  ];
  return parts.length === 0 ? "" : `, ${parts.join(" and ")}`;
}
