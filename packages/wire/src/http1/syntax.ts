// The grammar of RFC 9110 and RFC 9112, read as narrowly as real clients allow.
import { isIPv6 } from "node:net";
import { Http1Error } from "./errors.ts";

const tokenBit = 1;
const textBit = 2;
const targetBit = 4;
const hostBit = 8;

/** What each byte may be part of. */
const byteClass = new Uint8Array(256);
for (let code = 0x21; code < 0x7f; code++) byteClass[code] = textBit | targetBit;
for (let code = 0x80; code < 0x100; code++) byteClass[code] = textBit;
byteClass[0x09] = textBit;
byteClass[0x20] = textBit;
// A fragment never belongs in a request (RFC 9110 §4.2.5); what follows it is routed by some and ignored by others.
byteClass["#".charCodeAt(0)] = textBit;
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
for (const character of `!#$%&'*+-.^_\`|~0123456789${letters}`) byteClass[character.charCodeAt(0)]! |= tokenBit;
for (const character of `-._~0123456789${letters}`) byteClass[character.charCodeAt(0)]! |= hostBit;

function isAll(text: string, bit: number): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0xff || ((byteClass[code] as number) & bit) === 0) return false;
  }
  return text.length > 0;
}

/** A byte of a line: visible, space, tab or obs-text; no control. */
export function isTextByte(byte: number): boolean {
  return ((byteClass[byte] as number) & textBit) !== 0;
}

export function isToken(text: string): boolean {
  return isAll(text, tokenBit);
}

/** A field value, possibly empty: Latin-1 without controls. */
export function isFieldValue(text: string): boolean {
  return text === "" || isAll(text, textBit);
}

export function isTargetText(text: string): boolean {
  return isAll(text, targetBit);
}

/** Methods are case-sensitive, but backends exist that are not: `get` could pass a rule about `GET`. */
export function isMethod(text: string): boolean {
  return text.length <= 32 && isToken(text) && !/[a-z]/.test(text);
}

/** Without spaces and tabs at both ends (OWS). */
export function trimSpace(text: string, start: number, end: number): string {
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** A comma-separated list of tokens, lower-cased; empty elements are skipped (RFC 9110 §5.6.1.2). Undefined: not such a list. */
export function parseTokenList(values: readonly string[]): string[] | undefined {
  const tokens: string[] = [];
  for (const value of values) {
    for (const element of value.split(",")) {
      const token = trimSpace(element, 0, element.length);
      if (token === "") continue;
      if (!isToken(token)) return undefined;
      tokens.push(token.toLowerCase());
    }
  }
  return tokens;
}

/** Digits only, at most 2^53-1; undefined otherwise. Leading zeros are allowed, signs, spaces and lists are not. */
export function parseContentLength(value: string): number | undefined {
  if (value.length === 0 || value.length > 16) return undefined;
  let length = 0;
  for (let index = 0; index < value.length; index++) {
    const digit = value.charCodeAt(index) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    length = length * 10 + digit;
  }
  return Number.isSafeInteger(length) ? length : undefined;
}

export interface HostAndPort {
  /** Lower-cased; IPv6 in brackets. */
  readonly host: string;
  readonly port: number | undefined;
}

/**
 * `host[:port]` as in Host and in a CONNECT target: names of letters, digits and `-._~`, IPv4, or `[IPv6]` without a
 * zone. Percent-encoding and the other characters that RFC 3986 lets into a reg-name have no use in a host name here and
 * are read differently by different servers. Throws `HTTP1_BAD_HOST`.
 */
export function parseHost(text: string): HostAndPort {
  const bad = (): Http1Error => new Http1Error("HTTP1_BAD_HOST", `Bad host: ${JSON.stringify(text)}`);
  let hostEnd = text.indexOf(":");
  if (text.startsWith("[")) {
    hostEnd = text.indexOf("]") + 1;
    const address = text.slice(1, hostEnd - 1);
    if (!isIPv6(address) || address.includes("%")) throw bad();
    if (hostEnd === text.length) hostEnd = -1;
    else if (text[hostEnd] !== ":") throw bad();
  }
  const host = hostEnd < 0 ? text : text.slice(0, hostEnd);
  if (!host.startsWith("[") && (!isAll(host, hostBit) || host.length > 255)) throw bad();
  if (hostEnd < 0) return { host: host.toLowerCase(), port: undefined };
  const digits = text.slice(hostEnd + 1);
  const port = digits.length <= 5 ? parseContentLength(digits) : undefined;
  if (port === undefined || port > 65_535) throw bad();
  return { host: host.toLowerCase(), port };
}

export function formatHost(host: HostAndPort): string {
  return host.port === undefined ? host.host : `${host.host}:${host.port}`;
}
