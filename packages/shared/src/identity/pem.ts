/** One block of a PEM text. */
export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
}

/** Far above any chain or bundle we meet. */
const maxPemLength = 1024 * 1024;
const maxPemBlocks = 256;

const blockPattern = /-----BEGIN ([A-Z0-9 ]{1,64})-----\r?\n([A-Za-z0-9+/=\r\n]*)-----END \1-----(?:\r?\n|$)/y;

/**
 * Every block of a PEM text (RFC 7468, strict: nothing but blank lines, and lines that begin with `#`, between blocks). Throws
 * `Error` saying what is wrong: text that is only half understood must not lose a root silently.
 */
export function parsePem(text: string): PemBlock[] {
  if (text.length > maxPemLength)
    throw new Error(`PEM text of ${text.length} characters is longer than ${maxPemLength}`);
  const blocks: PemBlock[] = [];
  let at = skipBlank(text, 0);
  while (at < text.length) {
    blockPattern.lastIndex = at;
    const match = blockPattern.exec(text);
    if (!match) throw new Error(`PEM block ${blocks.length + 1} is not well formed`);
    if (blocks.length === maxPemBlocks) throw new Error(`PEM text has more than ${maxPemBlocks} blocks`);
    blocks.push({ label: match[1] ?? "", der: decodeBase64(match[2] ?? "", blocks.length + 1) });
    at = skipBlank(text, blockPattern.lastIndex);
  }
  return blocks;
}

/** The blocks, which must all have this label. */
export function parsePemOf(label: string, text: string): Uint8Array[] {
  return parsePem(text).map((block) => {
    if (block.label !== label) throw new Error(`PEM has a ${block.label} where a ${label} is expected`);
    return block.der;
  });
}

/** With lines of 64 characters and a final newline. */
export function formatPem(label: string, der: Uint8Array): string {
  const base64 = Buffer.from(der).toString("base64");
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

function skipBlank(text: string, from: number): number {
  const blank = /(?:[ \t]*\r?\n|#[^\n]*(?:\n|$)|[ \t]+$)*/y;
  blank.lastIndex = from;
  blank.exec(text);
  return blank.lastIndex;
}

function decodeBase64(text: string, block: number): Uint8Array {
  const compact = text.replaceAll(/[\r\n]/g, "");
  const der = Buffer.from(compact, "base64");
  // Buffer ignores what it does not understand: accepted is only what encodes back to the same text.
  if (der.length === 0 || der.toString("base64") !== compact) throw new Error(`PEM block ${block} is not base64`);
  return der;
}
