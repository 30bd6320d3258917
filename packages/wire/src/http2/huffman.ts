// The static Huffman code of RFC 7541 appendix B. It is canonical (codes of one length are consecutive in symbol order), so the
// lengths say everything; the tests check the result against the RFC's examples and nghttp2.

import type { ByteWriter } from "./byte-writer.ts";

/** Bits of the code of each byte; the last entry is EOS. One row is 32 symbols. */
const CODE_LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
];
const EOS = 256;

const lengths: Uint8Array = Uint8Array.from(CODE_LENGTHS);
const codes: Uint32Array = assignCanonicalCodes();

function assignCanonicalCodes(): Uint32Array {
  const assigned = new Uint32Array(EOS + 1);
  let code = 0;
  for (let length = 1; length <= 30; length++) {
    for (let symbol = 0; symbol <= EOS; symbol++) if (lengths[symbol] === length) assigned[symbol] = code++;
    code *= 2;
  }
  return assigned;
}

/**
 * The decoding trie, eight bits a step: 256 entries a node. An entry is 0 (no code), `-node` (go on there), or
 * `length << 9 | symbol`, where length counts the bits used in this step.
 */
const trie: Int16Array = buildTrie();

function buildTrie(): Int16Array {
  const nodes: number[][] = [Array.from({ length: 256 }, () => 0)];
  for (let symbol = 0; symbol <= EOS; symbol++) {
    const code = codes[symbol] as number;
    let bitsLeft = lengths[symbol] as number;
    let node = nodes[0] as number[];
    while (bitsLeft > 8) {
      bitsLeft -= 8;
      const step = (code >>> bitsLeft) & 0xff;
      if (node[step] === 0) {
        node[step] = -nodes.length;
        nodes.push(Array.from({ length: 256 }, () => 0));
      }
      node = nodes[-(node[step] as number)] as number[];
    }
    const first = (code << (8 - bitsLeft)) & 0xff;
    for (let i = 0; i < 1 << (8 - bitsLeft); i++) node[first + i] = (bitsLeft << 9) | symbol;
  }
  return Int16Array.from(nodes.flat());
}

/** Bytes of `text` in the code, or -1 when a character is above U+00FF. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (character > 0xff) return -1;
    bits += lengths[character] as number;
  }
  return (bits + 7) >>> 3;
}

/** Appends the code of a Latin-1 text, padded with ones. The caller reserved {@link huffmanLength} bytes. */
export function huffmanEncode(text: string, target: ByteWriter): void {
  const { bytes } = target;
  let at = target.length;
  let pending = 0;
  let pendingBits = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i);
    const code = codes[symbol] as number;
    const bits = lengths[symbol] as number;
    // Codes are up to 30 bits and up to 7 wait: two steps keep the accumulator within 32.
    if (bits > 24) {
      pending = (pending << (bits - 16)) | (code >>> 16);
      pendingBits += bits - 16;
      while (pendingBits >= 8) bytes[at++] = pending >>> (pendingBits -= 8);
      pending = ((pending & 0x7f) << 16) | (code & 0xffff);
      pendingBits += 16;
    } else {
      pending = (pending << bits) | code;
      pendingBits += bits;
    }
    while (pendingBits >= 8) bytes[at++] = pending >>> (pendingBits -= 8);
    pending &= 0x7f;
  }
  if (pendingBits > 0) bytes[at++] = (pending << (8 - pendingBits)) | (0xff >>> pendingBits);
  target.length = at;
}

/**
 * Decodes `source[start, end)` into `target` from 0 on and returns the length, or -1 for a code that does not exist, EOS, padding of more
 * than seven bits or not all ones (RFC 7541 §5.2). `target` must hold 8/5 of the input.
 */
export function huffmanDecode(source: Uint8Array, start: number, end: number, target: Uint8Array): number {
  let at = 0;
  let node = 0;
  let pending = 0;
  let pendingBits = 0;
  let bitsSinceSymbol = 0;
  for (let i = start; i < end; i++) {
    pending = ((pending << 8) | (source[i] as number)) & 0xffff;
    pendingBits += 8;
    bitsSinceSymbol += 8;
    while (pendingBits >= 8) {
      const entry = trie[node * 256 + ((pending >>> (pendingBits - 8)) & 0xff)] as number;
      if (entry < 0) {
        node = -entry;
        pendingBits -= 8;
        continue;
      }
      const symbol = entry & 0x1ff;
      if (entry === 0 || symbol === EOS) return -1;
      target[at++] = symbol;
      pendingBits -= entry >>> 9;
      bitsSinceSymbol = pendingBits;
      node = 0;
    }
  }
  while (pendingBits > 0) {
    const entry = trie[node * 256 + ((pending << (8 - pendingBits)) & 0xff)] as number;
    if (entry <= 0 || entry >>> 9 > pendingBits) break;
    target[at++] = entry & 0x1ff;
    pendingBits -= entry >>> 9;
    bitsSinceSymbol = pendingBits;
    node = 0;
  }
  const ones = (1 << pendingBits) - 1;
  if (bitsSinceSymbol > 7 || (pending & ones) !== ones) return -1;
  return at;
}
