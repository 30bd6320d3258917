/** A wrong state file: where, what, what to do. */
export class StateFileError extends Error {
  override readonly name = "StateFileError";
  readonly code = "STATE_FILE_INVALID";
  readonly path: string;

  constructor(path: string, problem: string) {
    super(path === "" ? `The state file ${problem}` : `${path} ${problem}`);
    this.path = path;
  }
}

/** A value of a parsed YAML document with its path, read with checks that name the path. */
export class YamlNode {
  readonly #value: unknown;
  readonly path: string;

  constructor(value: unknown, path: string) {
    this.#value = value;
    this.path = path;
  }

  /** Its fields; throws on one that is not in `known`. */
  fields(known: readonly string[]): YamlFields {
    const entries = this.entries();
    for (const [name, node] of entries)
      if (!known.includes(name))
        throw new StateFileError(node.path, `is not a known field; known: ${known.join(", ")}`);
    return new YamlFields(new Map(entries), this.path);
  }

  entries(): [string, YamlNode][] {
    if (typeof this.#value !== "object" || this.#value === null || Array.isArray(this.#value))
      throw new StateFileError(this.path, `must be a mapping, is ${describe(this.#value)}`);
    return Object.entries(this.#value).map(([name, value]) => [name, new YamlNode(value, joined(this.path, name))]);
  }

  list(): YamlNode[] {
    if (!Array.isArray(this.#value)) throw new StateFileError(this.path, `must be a list, is ${describe(this.#value)}`);
    return this.#value.map((value: unknown, i) => new YamlNode(value, `${this.path}[${i}]`));
  }

  text(): string {
    if (typeof this.#value !== "string")
      throw new StateFileError(this.path, `must be text, is ${describe(this.#value)}`);
    return this.#value;
  }

  flag(): boolean {
    if (typeof this.#value !== "boolean")
      throw new StateFileError(this.path, `must be true or false, is ${describe(this.#value)}`);
    return this.#value;
  }

  integer(min: number, max: number): number {
    const value = this.#value;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max)
      throw new StateFileError(this.path, `must be a whole number from ${min} to ${max}, is ${describe(value)}`);
    return value;
  }

  oneOf<T>(values: Readonly<Record<string, T>>): T {
    const name = this.text();
    const found = Object.entries(values).find(([known]) => known === name);
    if (found !== undefined) return found[1];
    const expected = Object.keys(values).join(", ");
    throw new StateFileError(this.path, `must be one of ${expected}, is ${JSON.stringify(name)}`);
  }

  /** Reads text by a parser whose `Error` becomes this node's. */
  convert<T>(parse: (text: string) => T): T {
    const text = this.text();
    try {
      return parse(text);
    } catch (cause) {
      throw new StateFileError(this.path, `is wrong: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }
}

/** The fields of a mapping. */
export class YamlFields {
  readonly #fields: ReadonlyMap<string, YamlNode>;
  readonly #path: string;

  constructor(fields: ReadonlyMap<string, YamlNode>, path: string) {
    this.#fields = fields;
    this.#path = path;
  }

  optional(name: string): YamlNode | undefined {
    return this.#fields.get(name);
  }

  required(name: string): YamlNode {
    const node = this.#fields.get(name);
    if (node === undefined) throw new StateFileError(joined(this.#path, name), "is required");
    return node;
  }

  /** "" when absent. */
  text(name: string): string {
    return this.optional(name)?.text() ?? "";
  }

  /** False when absent. */
  flag(name: string): boolean {
    return this.optional(name)?.flag() ?? false;
  }

  /** None when absent. */
  list(name: string): YamlNode[] {
    return this.optional(name)?.list() ?? [];
  }

  oneOf<T, Name extends string>(name: string, values: Readonly<Record<Name, T>>, fallback: NoInfer<Name>): T {
    return this.optional(name)?.oneOf<T>(values) ?? values[fallback];
  }
}

function joined(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return "empty";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "a mapping" : JSON.stringify(value);
}
