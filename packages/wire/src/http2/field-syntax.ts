// RFC 9113 §8.2.1 on single fields. A field that breaks it makes the message malformed: it is refused, never dropped or repaired.

/** 1: allowed in a lower-case field name (RFC 9110 token without upper case). */
const NAME_BYTES: Uint8Array = byteClass("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz");
/** 1: allowed in a field value: HTAB, SP, visible ASCII, obs-text. No other control (RFC 9110 §5.5). */
const VALUE_BYTES: Uint8Array = new Uint8Array(256).fill(1, 0x20).fill(1, 0x09, 0x0a).fill(0, 0x7f, 0x80);
const TOKEN_BYTES: Uint8Array = byteClass(
  "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
);

function byteClass(members: string): Uint8Array {
  const table = new Uint8Array(256);
  for (const member of members) table[member.charCodeAt(0)] = 1;
  return table;
}

/** A sentence about what is wrong, or undefined. `name` may begin with one colon (pseudo-header field). */
export function findFieldProblem(name: string, value: string): string | undefined {
  return findNameProblem(name) ?? findValueProblem(name, value);
}

function findNameProblem(name: string): string | undefined {
  const start = name.charCodeAt(0) === 0x3a ? 1 : 0;
  if (name.length === start) return "a field name is empty";
  for (let i = start; i < name.length; i++) {
    if (NAME_BYTES[name.charCodeAt(i)] !== 1) return `field name ${JSON.stringify(name)} has a forbidden character`;
  }
  return undefined;
}

function findValueProblem(name: string, value: string): string | undefined {
  if (value.length === 0) return undefined;
  for (let i = 0; i < value.length; i++) {
    if (VALUE_BYTES[value.charCodeAt(i)] !== 1) return `the value of ${name} has a forbidden character`;
  }
  if (isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1))) {
    return `the value of ${name} begins or ends with white space`;
  }
  return undefined;
}

function isBlank(character: number): boolean {
  return character === 0x20 || character === 0x09;
}

/** RFC 9110 §5.6.2. */
export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (TOKEN_BYTES[text.charCodeAt(i)] !== 1) return false;
  return text.length > 0;
}
