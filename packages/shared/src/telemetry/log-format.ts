// Lines as ztunnel's subscriber prints them (its telemetry.rs): dashboards and people already parse these.
import { errorMessage } from "../process/mesh-error.ts";
import type { LogLevel } from "./log-levels.ts";

export interface LogRecord {
  readonly level: LogLevel;
  readonly scope: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

/** Text that a plain line shows without quotes, as ztunnel shows addresses; quoted after all when it holds a blank or a quote. */
export class Displayed {
  readonly text: string;
  #plain: string | undefined;

  constructor(text: string) {
    this.text = text;
  }

  /** As it stands in a plain line; found once, since some are kept for all lines of a connection. */
  get plain(): string {
    this.#plain ??= /[\s"=\\]/.test(this.text) ? quote(this.text) : escapeControls(this.text);
    return this.#plain;
  }
}

/** `address=10.0.0.1:80` instead of `address="10.0.0.1:80"` in plain lines. */
export function displayed(text: string): Displayed {
  return new Displayed(text);
}

/**
 * Fields that many lines have in common, made into text once. Stands in a record under any key, which is not shown. The object that
 * it was made of must not change any more.
 */
export class SharedFields {
  readonly #fields: Readonly<Record<string, unknown>>;
  #plain: string | undefined;
  #json: string | undefined;

  constructor(fields: Readonly<Record<string, unknown>>) {
    this.#fields = fields;
  }

  /** As in the middle of a plain line: each field with a blank before it. */
  get plain(): string {
    return (this.#plain ??= flat(formatFields(this.#fields, "plain")));
  }

  /** As inside a JSON line: each field with a comma before it. */
  get json(): string {
    return (this.#json ??= flat(formatFields(this.#fields, "json")));
  }
}

export function sharedFields(fields: Readonly<Record<string, unknown>>): SharedFields {
  return new SharedFields(fields);
}

/** The same text in one piece: V8 would put the pieces of a sum together anew in every line. */
function flat(text: string): string {
  return Buffer.from(text).toString();
}

/** Longer strings are cut in log lines: peers choose some of them. */
const maxLoggedStringLength = 4096;

/** `<time>\t<level>\t<scope>\t<message>\t<fields>\n`; the last tab is there without fields too. */
export function formatPlainLine(time: string, record: LogRecord): string {
  const fields = formatFields(record.fields, "plain").slice(1);
  return `${time}\t${record.level}\t${record.scope}\t${escapeControls(record.message)}\t${fields}\n`;
}

/** `{"level","time","scope","message",fields…}\n`. */
export function formatJsonLine(time: string, record: LogRecord): string {
  const { level, scope, message } = record;
  const fields = formatFields(record.fields, "json");
  return `{"level":"${level}","time":"${time}","scope":${JSON.stringify(scope)},"message":${JSON.stringify(message)}${fields}}\n`;
}

type Style = "plain" | "json";

/** Each field with what separates it from the one before. */
function formatFields(fields: LogRecord["fields"], style: Style): string {
  let text = "";
  for (const key in fields) {
    const value = fields[key];
    if (value instanceof SharedFields) text += value[style];
    else text += style === "plain" ? plainField(key, value) : jsonField(key, value);
  }
  return text;
}

function plainField(key: string, value: unknown): string {
  const shown = formatPlainValue(value);
  return shown === undefined ? "" : ` ${key}=${shown}`;
}

function jsonField(key: string, value: unknown): string {
  const shown = formatJsonValue(value);
  return shown === undefined ? "" : `,${JSON.stringify(key)}:${shown}`;
}

function formatPlainValue(value: unknown): string | undefined {
  switch (typeof value) {
    case "string":
      return quote(value);
    case "number":
    case "bigint":
    case "boolean":
      return String(value);
    case "object":
      if (value === null) return undefined;
      if (value instanceof Displayed) return value.plain;
      return value instanceof Error ? quote(errorMessage(value)) : escapeControls(objectAsJson(value));
    default:
      return undefined;
  }
}

function formatJsonValue(value: unknown): string | undefined {
  switch (typeof value) {
    case "string":
      return JSON.stringify(cut(value));
    case "number":
      return Number.isFinite(value) ? String(value) : `"${value}"`;
    case "bigint":
    case "boolean":
      return String(value);
    case "object":
      if (value === null) return undefined;
      if (value instanceof Displayed) return JSON.stringify(cut(value.text));
      if (value instanceof Error) return JSON.stringify(cut(errorMessage(value)));
      return objectAsJson(value);
    default:
      return undefined;
  }
}

/** A log call never throws: what JSON refuses (cycles, a bigint inside) is told by its type. */
function objectAsJson(value: object): string {
  try {
    const text = JSON.stringify(value) ?? "null";
    return text.length <= maxLoggedStringLength ? text : JSON.stringify(cut(text));
  } catch {
    return '"[unprintable]"';
  }
}

/** A string in quotes on one line; also used by the access log. */
function quote(text: string): string {
  const shown = cut(text);
  if (!needsEscape.test(shown)) return `"${shown}"`;
  return `"${escapeControls(shown.replaceAll(/["\\]/g, "\\$&"))}"`;
}

/** A text that needs no escape is the rule; one test is cheaper than a replace. C0, C1, line separators, bidi controls, lone surrogates. */
// eslint-disable-next-line no-control-regex -- the point of the pattern
const unsafe = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]|\p{Cs}/u;
const unsafeAll = new RegExp(unsafe.source, "gu");
const needsEscape = new RegExp(`["\\\\]|${unsafe.source}`, "u");

/** No text, whoever chose it, can begin a new line or steer a terminal. As Rust prints them: `\n`, `\t`, `\u{1b}`. */
function escapeControls(text: string): string {
  if (!unsafe.test(text)) return text;
  return text.replaceAll(unsafeAll, (char) => {
    if (char === "\n") return "\\n";
    if (char === "\r") return "\\r";
    if (char === "\t") return "\\t";
    return `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
  });
}

function cut(text: string): string {
  return text.length <= maxLoggedStringLength ? text : `${text.slice(0, maxLoggedStringLength)}…`;
}

let offsetMs = 0;
let shownSecond = Number.NaN;
let shownSecondText = "";

/**
 * Now as `2026-11-21T03:31:35.477735Z`. Microseconds come from the monotonic clock, aligned with the wall clock and aligned
 * anew when the two differ by more than 2 ms (the wall clock was set).
 */
export function timestamp(): string {
  const wall = Date.now();
  const monotonic = performance.now();
  // Asked twice: this thread may have stood still between the two clocks.
  if (differs(monotonic, wall) && differs(monotonic, Date.now())) offsetMs = Date.now() - performance.now();
  const micros = Math.floor((monotonic + offsetMs) * 1000);
  const second = Math.floor(micros / 1e6);
  if (second !== shownSecond) {
    shownSecond = second;
    shownSecondText = new Date(second * 1000).toISOString().slice(0, "2026-11-21T03:31:35.".length);
  }
  return `${shownSecondText}${String(micros - second * 1e6).padStart(6, "0")}Z`;
}

function differs(monotonic: number, wall: number): boolean {
  return Math.abs(monotonic + offsetMs - wall) > 2;
}
