/**
 * One header or trailer field. Names are lower case. Values are bytes as Latin-1 text (one character a byte), never UTF-16
 * text: the encoder refuses a character above U+00FF.
 */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
  /**
   * Must never enter a compression table, on this hop or the next (RFC 7541 §7.1.3). The decoder sets it on fields that came
   * marked so; the encoder also treats `authorization`, `proxy-authorization` and short cookies so without being told.
   */
  readonly sensitive?: boolean;
}

/** Fields in wire order, pseudo-header fields first, duplicates kept. */
export type HeaderList = readonly HeaderField[];

/** The first value of `name` (lower case), or undefined. */
export function findHeader(headers: HeaderList, name: string): string | undefined {
  for (const field of headers) if (field.name === name) return field.value;
  return undefined;
}

/** `[["a","1"],["b","2"]]` or a plain object as a header list: convenience for tests and small callers. */
export function headerList(
  fields: Readonly<Record<string, string>> | readonly (readonly [name: string, value: string])[],
): HeaderField[] {
  const pairs = Array.isArray(fields) ? fields : Object.entries(fields as Readonly<Record<string, string>>);
  return pairs.map(([name, value]: readonly [string, string]) => ({ name, value }));
}
