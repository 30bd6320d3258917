import type { HeaderField, HeaderList } from "@hairpin/wire";
import { formatSpiffeId, parseSpiffeId, type Identity, type SocketAddress } from "@hairpin/shared/model";
import { connectHeader, formatForwarded, parseForwarded } from "./connect-request.ts";

/** The caller on whose behalf a ztunnel hairpins a connection: what the waypoint authorises instead of the ztunnel. */
export interface HairpinSource {
  /** Undefined: the caller came without identity (plaintext). */
  readonly identity: Identity | undefined;
  readonly address: SocketAddress;
}

/** The two headers that carry a {@link HairpinSource}. */
export function formatHairpinSource(source: HairpinSource): HeaderField[] {
  return [
    { name: connectHeader.hairpinSource, value: source.identity ? formatSpiffeId(source.identity) : "none" },
    { name: connectHeader.forwarded, value: formatForwarded({ for: source.address }) },
  ];
}

/**
 * Reads the hairpin source of a CONNECT whose peer is a trusted ztunnel. `headers` are the whole head.
 * Throws `Error` when either header is missing, repeated or malformed: the waypoint answers 400.
 */
export function parseHairpinSource(headers: HeaderList): HairpinSource {
  const sources = valuesOf(headers, connectHeader.hairpinSource);
  const [source] = sources;
  if (source === undefined || sources.length > 1)
    throw new Error(`${sources.length} ${connectHeader.hairpinSource} headers; exactly one is needed`);
  const forwardedLines = valuesOf(headers, connectHeader.forwarded);
  const [forwardedText] = forwardedLines;
  if (forwardedText === undefined || forwardedLines.length > 1)
    throw new Error(`${forwardedLines.length} forwarded headers; exactly one is needed`);
  const address = parseForwarded(forwardedText)?.for;
  if (!address) throw new Error(`forwarded: ${JSON.stringify(forwardedText)} has no for="ip:port"`);
  return { identity: source === "none" ? undefined : parseSpiffeId(source), address };
}

function valuesOf(headers: HeaderList, name: string): string[] {
  return headers.filter((field) => field.name === name).map(({ value }) => value);
}
