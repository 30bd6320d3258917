// Edits the configuration of a node's container network: puts our plugin at the end of the chain, and takes it away. Pure.

/** The file name of the plugin in the folder of CNI plugins, by which the runtime finds it. */
export const pluginType = "hairpin-cni";
/** A configuration of one plugin that we replaced by a list keeps its text here; runtimes do not read files of this name. */
const savedSuffix = ".hairpin-saved";

export interface ConfFile {
  readonly name: string;
  readonly text: string;
}

/** What the folder is to be made: files to write (whole) and to remove, in this order. */
export interface ConfChange {
  readonly write: readonly ConfFile[];
  readonly remove: readonly string[];
  /** The file that names our plugin then; undefined: none. */
  readonly chainedIn: string | undefined;
  /** Files that runtimes pass over, with the reason. */
  readonly ignored: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;

/** Runtimes take the first of these, by name. */
const confName = /\.(?:conf|conflist|json)$/;

/**
 * Chains our plugin (`entry`, without its type) into the first configuration that a runtime would take, and takes it out of
 * all others. Nothing to do: an empty change. `files`: everything in the folder.
 */
export function chainPlugin(files: readonly ConfFile[], entry: Json): ConfChange {
  const ours = { ...entry, type: pluginType };
  const ignored: string[] = [];
  let chainedIn: string | undefined;
  const write: ConfFile[] = [];
  const remove: string[] = [];
  for (const file of candidates(files)) {
    const conf = parseConf(file);
    if (typeof conf === "string") {
      ignored.push(`${file.name}: ${conf}`);
      continue;
    }
    if (chainedIn !== undefined) {
      write.push(...rewritten(file, conf.json, withoutOurs(conf.plugins)));
      continue;
    }
    const plugins = [...withoutOurs(conf.plugins), ours];
    if (conf.isList) {
      chainedIn = file.name;
      write.push(...rewritten(file, conf.json, plugins));
      continue;
    }
    // One plugin has no place for a second: a list takes over, under a name that comes at the same place.
    chainedIn = file.name.replace(confName, ".conflist");
    const { cniVersion, name } = conf.json;
    write.push(
      { name: `${file.name}${savedSuffix}`, text: file.text },
      { name: chainedIn, text: format({ cniVersion, name, plugins }) },
    );
    remove.push(file.name);
  }
  return { write, remove, chainedIn, ignored };
}

/** Takes our plugin out of every file, and puts back configurations that were replaced by a list. */
export function unchainPlugin(files: readonly ConfFile[]): ConfChange {
  const write: ConfFile[] = [];
  const remove: string[] = [];
  const saved = files.filter(({ name }) => name.endsWith(savedSuffix));
  for (const { name, text } of saved) {
    const original = name.slice(0, -savedSuffix.length);
    const list = files.find((file) => file.name === original.replace(confName, ".conflist"));
    // Not if the network's own installer has written it anew since.
    if (!files.some((file) => file.name === original)) write.push({ name: original, text });
    if (list !== undefined && holdsOurs(list)) remove.push(list.name);
    remove.push(name);
  }
  for (const file of candidates(files)) {
    const conf = parseConf(file);
    if (typeof conf === "string" || !conf.isList || remove.includes(file.name)) continue;
    write.push(...rewritten(file, conf.json, withoutOurs(conf.plugins)));
  }
  return { write, remove, chainedIn: undefined, ignored: [] };
}

function candidates(files: readonly ConfFile[]): ConfFile[] {
  // As Go sorts: by bytes.
  return files
    .filter(({ name }) => confName.test(name) && !name.startsWith("."))
    .toSorted((one, other) => Buffer.compare(Buffer.from(one.name), Buffer.from(other.name)));
}

interface ParsedConf {
  readonly json: Json;
  readonly isList: boolean;
  readonly plugins: readonly Json[];
}

/** A text: why a runtime passes the file over. */
function parseConf({ name, text }: ConfFile): ParsedConf | string {
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch {
    return "it is not JSON";
  }
  if (!isObject(json)) return "it is not a JSON object";
  const { plugins } = json;
  const isList = name.endsWith(".conflist") || plugins !== undefined;
  if (!isList) return typeof json["type"] === "string" ? { json, isList, plugins: [json] } : "it names no plugin";
  if (!Array.isArray(plugins) || !plugins.every(isObject)) return "it has no list of plugins";
  return withoutOurs(plugins).length === 0 ? "it has no plugin that makes a network" : { json, isList, plugins };
}

function rewritten(file: ConfFile, json: Json, plugins: readonly Json[]): ConfFile[] {
  if (JSON.stringify(json["plugins"]) === JSON.stringify(plugins)) return [];
  return [{ name: file.name, text: format({ ...json, plugins }) }];
}

function withoutOurs(plugins: readonly Json[]): readonly Json[] {
  return plugins.filter(({ type }) => type !== pluginType);
}

function holdsOurs(file: ConfFile): boolean {
  const conf = parseConf(file);
  return typeof conf !== "string" && conf.plugins.some(({ type }) => type === pluginType);
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function format(conf: Json): string {
  return `${JSON.stringify(conf, undefined, 2)}\n`;
}
