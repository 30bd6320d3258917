import { Http1Error } from "./errors.ts";
import { commonFieldName, type FieldName } from "./field-names.ts";
import { Http1Headers } from "./headers.ts";
import { isToken, trimSpace } from "./syntax.ts";

/** Names that gateways which map `-` to `_` (CGI, WSGI) take for the framing fields. */
const lookalikeNames: ReadonlySet<string> = new Set(["content_length", "transfer_encoding"]);

/** Collects the field lines of a head or of trailers. */
export class FieldReader {
  readonly headers: Http1Headers = new Http1Headers();
  readonly #maxCount: number;

  constructor(maxCount: number) {
    this.#maxCount = maxCount;
  }

  /** `name: value`, controls already excluded: `text` from `start` to `end`. */
  add(text: string, start = 0, end: number = text.length): void {
    const first = text.charCodeAt(start);
    if (first === 0x20 || first === 0x09) {
      throw new Http1Error("HTTP1_FOLDED_HEADER", "Field line begins with a space: folded values are obsolete");
    }
    const colon = text.indexOf(":", start);
    if (colon < 0 || colon >= end) {
      throw new Http1Error("HTTP1_BAD_HEADER_NAME", `Field line without colon: ${quote(text.slice(start, end))}`);
    }
    const { name, lowerName } = commonFieldName(text, start, colon) ?? checkedName(text.slice(start, colon));
    if (this.headers.size === this.#maxCount) {
      throw new Http1Error("HTTP1_TOO_MANY_HEADERS", `More than ${this.#maxCount} fields`, 431);
    }
    this.headers.append(name, trimSpace(text, colon + 1, end), lowerName);
  }
}

function checkedName(name: string): FieldName {
  if (!isToken(name)) throw badName(name);
  const lowerName = name.toLowerCase();
  if (lookalikeNames.has(lowerName)) {
    throw new Http1Error("HTTP1_AMBIGUOUS_HEADER_NAME", `Field ${quote(name)} looks like a framing field`);
  }
  return { name, lowerName };
}

function badName(name: string): Http1Error {
  if (name.endsWith(" ") || name.endsWith("\t")) {
    return new Http1Error("HTTP1_SPACE_BEFORE_COLON", `Space before the colon of ${quote(name)}`);
  }
  return new Http1Error("HTTP1_BAD_HEADER_NAME", `Bad field name ${quote(name)}`);
}

/** For messages: bounded, and safe in a log line. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
