// Finds by reading the text of the sources what the documentation must list: metrics, settings, error codes, CONNECT
// headers, commands. Text patterns suffice because the house style writes each of these in one way only.

/** Something that must have a row, and where the code defines it. */
export interface Defined {
  readonly name: string;
  /** `file:line`. */
  readonly where: string;
}

export interface SourceFile {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
}

export type Topic = "metrics" | "settings" | "errors" | "headers" | "commands";

/** A registry definition: `name` with `help` next to it. */
const metricPattern = /\bname:\s*"([a-z][a-z0-9]*(?:_[a-z0-9]+)+)",\s*help:/g;
const readerMethod = "string|optionalString|integer|port|boolean|durationMs|oneOf|list|parsed|optionalFile";
const variable = "([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)";
const settingPatterns: readonly RegExp[] = [
  new RegExp(`\\breader\\s*\\.(?:${readerMethod})\\(\\s*"${variable}"`, "g"),
  new RegExp(`\\b\\w+\\("${variable}", reader\\)`, "g"),
  new RegExp(`\\bprocess\\.env\\["${variable}"\\]`, "g"),
];
/** A name made of `XDS` or `CA`, as shared/agent reads both servers of the control plane. */
const endpointPattern = /`((?:[A-Z]+_)?\$\{prefix\}_[A-Z_]+)`/g;
/** A family of names, shown as `ISTIO_META_*`. */
const familyPattern = /withPrefix\(environment, (?:"([A-Z_]+)"|`(\$\{prefix\}_[A-Z_]+)`)/g;
const code = "([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)";
const codePatterns: readonly RegExp[] = [
  new RegExp(`\\bcode(?::|\\s*=|:\\s*\\w+\\s*=)\\s*"${code}"`, "g"),
  new RegExp(`\\b\\w*(?:[Ee]rror|refuse|fail)\\(\\s*"${code}"`, "g"),
  /\bthrow (?:new )?\w+\(\s*"((?:HTTP[12]?|HBONE|XDS|ZDS|CAPTURE|LOCAL|STORE)_[A-Z0-9_]+)"/g,
];
const codeUnionPattern = /\btype \w*ErrorCode\s*=([^;]*);/g;
/** Faults of HTTP/2 peers: `HTTP2_` and the name in RFC 9113. */
const http2FaultPattern = /\b(?:streamFault|ConnectionFault)\(\s*ErrorCode\.([A-Z_]+)/g;
const headerPattern = /"(x-hairpin-[a-z-]+)"/g;
const connectHeaderPattern = /export const connectHeader = \{([^}]*)\}/g;
const commandPattern = /\.command\("([a-z]+)"\)/g;
const optionPattern = /\.(?:option|requiredOption)\(\s*"(?:-[a-zA-Z], )?(--[a-z0-9-]+)/g;

export function findDefined(files: readonly SourceFile[]): Readonly<Record<Topic, readonly Defined[]>> {
  return {
    metrics: collect(files, (file) => matches(file, metricPattern)),
    settings: collect(files, findSettings),
    errors: collect(files, findCodes),
    headers: collect(files, findHeaders),
    commands: collect(files, findCommands),
  };
}

function findSettings(file: SourceFile): Defined[] {
  const plain = settingPatterns.flatMap((pattern) => matches(file, pattern));
  if (!file.text.includes('prefix: "XDS" | "CA"')) return plain;
  const families = matches(file, familyPattern).map(({ name, where }) => ({ name: `${name}*`, where }));
  const expanded = [...matches(file, endpointPattern), ...families].filter(({ name }) => !name.endsWith("_HEADER_"));
  return [...plain, ...expanded.flatMap(expandPrefix)];
}

function expandPrefix({ name, where }: Defined): Defined[] {
  if (!name.includes("${prefix}")) return [{ name, where }];
  return ["XDS", "CA"].map((prefix) => ({ name: name.replace("${prefix}", prefix), where }));
}

function findCodes(file: SourceFile): Defined[] {
  const unions = insideOf(file, codeUnionPattern, new RegExp(`"${code}"`, "g"));
  const faults = matches(file, http2FaultPattern).map(({ name, where }) => ({ name: `HTTP2_${name}`, where }));
  return [...codePatterns.flatMap((pattern) => matches(file, pattern)), ...unions, ...faults];
}

function findHeaders(file: SourceFile): Defined[] {
  return [...matches(file, headerPattern), ...insideOf(file, connectHeaderPattern, /"([a-z-]+)"/g)];
}

/** `hairpin up`, and `hairpin up --nodes` for each of its options. */
function findCommands(file: SourceFile): Defined[] {
  if (!file.path.startsWith("packages/cli/src/command/")) return [];
  return matches(file, commandPattern).flatMap((command) => {
    const name = `hairpin ${command.name}`;
    const named = file.text.includes(`withMeshName(program.command("${command.name}"))`)
      ? [{ name: `${name} --name`, where: command.where }]
      : [];
    const options = matches(file, optionPattern).map((option) => ({ ...option, name: `${name} ${option.name}` }));
    return [{ name, where: command.where }, ...named, ...options];
  });
}

/** All first groups of a pattern, with their lines. */
function matches(file: SourceFile, pattern: RegExp, offset = 0, text: string = file.text): Defined[] {
  return [...text.matchAll(pattern)].map((match) => ({
    name: match.slice(1).find((group) => group !== undefined) ?? "",
    where: `${file.path}:${lineAt(file.text, offset + match.index)}`,
  }));
}

/** What `inner` finds within the first group of `outer`. */
function insideOf(file: SourceFile, outer: RegExp, inner: RegExp): Defined[] {
  return [...file.text.matchAll(outer)].flatMap((match) => {
    const body = match[1] ?? "";
    return matches(file, inner, match.index + match[0].indexOf(body), body);
  });
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

/** The first definition of each name. */
function collect(files: readonly SourceFile[], find: (file: SourceFile) => readonly Defined[]): readonly Defined[] {
  const byName = new Map<string, Defined>();
  for (const file of files) for (const found of find(file)) if (!byName.has(found.name)) byName.set(found.name, found);
  return [...byName.values()];
}
