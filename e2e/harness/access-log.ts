// ztunnel's plain access log, read back.

export interface AccessLogLine {
  readonly text: string;
  /** When it was written, ms since 1970. */
  readonly at: number;
  readonly level: string;
  readonly message: string;
  /** Values without their quotes. */
  readonly fields: Readonly<Record<string, string>>;
  /** Names in their order. */
  readonly names: readonly string[];
  /** Names of the values that were quoted. */
  readonly quoted: ReadonlySet<string>;
}

/** Undefined when the line is not of the access log. */
export function parseAccessLog(text: string): AccessLogLine | undefined {
  const [time = "", level = "", scope, message = "", rest = ""] = text.split("\t");
  if (scope !== "access") return undefined;
  const found = [...rest.matchAll(/(?:^| )([A-Za-z_.]+)=("(?:[^"\\]|\\.)*"|\S*)/g)].map(
    ([, name = "", value = ""]) => [name, value] as const,
  );
  return {
    text,
    at: Date.parse(time),
    level,
    message,
    fields: Object.fromEntries(found.map(([name, value]) => [name, value.replaceAll(/^"|"$/g, "")])),
    names: found.map(([name]) => name),
    quoted: new Set(found.filter(([, value]) => value.startsWith('"')).map(([name]) => name)),
  };
}
