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

const lowerNames: ReadonlyMap<string, string> = new Map(
  common.flatMap((name) => {
    const lowerName = name.toLowerCase();
    return [
      [name, lowerName],
      [lowerName, lowerName],
    ];
  }),
);

/** The name in lower case, if it is one of the common ones: valid then, and always the same string. */
export function commonLowerName(name: string): string | undefined {
  return lowerNames.get(name);
}
