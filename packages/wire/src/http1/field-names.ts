/** Fields that nearly every message has, in the two ways in which clients and servers write them. */
const common = [
  "Accept",
  "Accept-Encoding",
  "Accept-Language",
  "Access-Control-Allow-Origin",
  "Authorization",
  "Cache-Control",
  "Connection",
  "Content-Encoding",
  "Content-Length",
  "Content-Security-Policy",
  "Content-Type",
  "Cookie",
  "Date",
  "ETag",
  "Expect",
  "Expires",
  "Forwarded",
  "Host",
  "If-Modified-Since",
  "If-None-Match",
  "Keep-Alive",
  "Last-Modified",
  "Location",
  "Origin",
  "Pragma",
  "Range",
  "Referer",
  "Sec-Fetch-Dest",
  "Sec-Fetch-Mode",
  "Sec-Fetch-Site",
  "Server",
  "Set-Cookie",
  "Strict-Transport-Security",
  "TE",
  "Traceparent",
  "Tracestate",
  "Transfer-Encoding",
  "Upgrade",
  "User-Agent",
  "Vary",
  "Via",
  "X-Content-Type-Options",
  "X-Forwarded-For",
  "X-Forwarded-Proto",
  "X-Powered-By",
  "X-Request-Id",
];

export interface FieldName {
  readonly name: string;
  readonly lowerName: string;
}

/** By length and first letter: few have both in common. */
const byStart = new Map<number, FieldName[]>();

for (const name of common) {
  const lowerName = name.toLowerCase();
  for (const spelling of [name, lowerName]) {
    const start = startOf(spelling.length, spelling.charCodeAt(0));
    byStart.set(start, [...(byStart.get(start) ?? []), { name: spelling, lowerName }]);
  }
}

/**
 * The name that `text` has from `start` to `end`, if it is one of the common ones: valid then, and always the same strings. Nothing is
 * cut out of `text` for it, since V8 would have to hash each piece anew.
 */
export function commonFieldName(text: string, start: number, end: number): FieldName | undefined {
  const candidates = byStart.get(startOf(end - start, text.charCodeAt(start)));
  if (candidates === undefined) return undefined;
  for (const candidate of candidates) if (text.startsWith(candidate.name, start)) return candidate;
  return undefined;
}

function startOf(length: number, firstLetter: number): number {
  return length * 256 + firstLetter;
}
