import { formatSocketAddress, tryParseSocketAddress, type SocketAddress } from "@hairpin/shared/model";

/** Header names of an HBONE CONNECT, in the order we send them. The last two are Hairpin's own (docs/hbone.md). */
export const connectHeader = {
  forwarded: "forwarded",
  baggage: "baggage",
  traceparent: "traceparent",
  hairpinSource: "x-hairpin-source",
  hairpinFor: "x-hairpin-for",
} as const;

/** Where a CONNECT asks to go: a socket address, or a service by host name. */
export type ConnectAuthority =
  | { readonly kind: "address"; readonly address: SocketAddress }
  | { readonly kind: "hostname"; readonly hostname: string; readonly port: number };

const hostnamePattern =
  /^(?=.{1,253}:)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*:([0-9]{1,5})$/i;

/**
 * Reads the `:authority` of a CONNECT (RFC 9110 §7.1): `ip:port`, `[v6]:port` or `host:port` with a port of 1 to
 * 65535. Undefined for anything else: no port, user information, a zone id, a decimal or short-form IP.
 */
export function parseConnectAuthority(text: string): ConnectAuthority | undefined {
  const address = tryParseSocketAddress(text);
  if (address) return { kind: "address", address };
  const match = hostnamePattern.exec(text);
  if (!match) return undefined;
  const portText = match[5] ?? "";
  const port = Number(portText);
  const hostname = text.slice(0, -portText.length - 1).toLowerCase();
  // A last label of digits only is a malformed IP ("10.1:80", "2130706433:80"), never a host name (WHATWG URL §3.5).
  if (/(^|\.)(0x[0-9a-f]*|[0-9]+)$/.test(hostname)) return undefined;
  if (port < 1 || port > 65535 || String(port) !== portText) return undefined;
  return { kind: "hostname", hostname, port };
}

export function formatConnectAuthority(authority: ConnectAuthority): string {
  return authority.kind === "address"
    ? formatSocketAddress(authority.address)
    : `${authority.hostname}:${authority.port}`;
}

/** The parts of RFC 7239's `Forwarded` that the mesh uses. */
export interface Forwarded {
  /** The client as the sender saw it. */
  readonly for?: SocketAddress;
  /** The service host name that the client addressed. */
  readonly host?: string;
}

/** `for="10.0.0.1:41000";host=reviews.default.svc.cluster.local`, as ztunnel writes it. */
export function formatForwarded(forwarded: Forwarded): string {
  const parts: string[] = [];
  if (forwarded.for) parts.push(`for="${formatSocketAddress(forwarded.for)}"`);
  if (forwarded.host !== undefined) parts.push(`host=${forwarded.host}`);
  return parts.join(";");
}

/**
 * Reads one `Forwarded` element list and returns the last element (the nearest hop). Undefined when the text does not
 * follow RFC 7239 §4; a part that is well-formed but of no use (an obfuscated `for`) is left out.
 */
export function parseForwarded(text: string): Forwarded | undefined {
  const elements = splitOutsideQuotes(text, ",");
  const last = elements?.at(-1);
  if (last === undefined) return undefined;
  const pairs = splitOutsideQuotes(last, ";");
  if (!pairs) return undefined;
  const result: { for?: SocketAddress; host?: string } = {};
  const seen = new Set<string>();
  for (const pair of pairs) {
    const match =
      /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~0-9A-Za-z:[\]-]+))\s*$/.exec(pair);
    if (!match) return undefined;
    const name = (match[1] ?? "").toLowerCase();
    if (seen.has(name)) return undefined;
    seen.add(name);
    const value = match[2] === undefined ? (match[3] ?? "") : match[2].replaceAll(/\\(.)/g, "$1");
    if (name === "for") {
      const address = tryParseSocketAddress(value);
      if (address) result.for = address;
    } else if (name === "host") {
      result.host = value;
    }
  }
  return result;
}

/** What one workload says of itself in `baggage` (W3C Baggage; Istio's keys). Telemetry only: never trusted for policy. */
export interface WorkloadBaggage {
  readonly clusterName?: string;
  readonly namespace?: string;
  readonly workloadName?: string;
  readonly workloadType?: "deployment" | "cronjob" | "pod" | "job";
  readonly serviceName?: string;
  readonly serviceVersion?: string;
  readonly region?: string;
  readonly zone?: string;
}

const workloadTypes = ["deployment", "cronjob", "pod", "job"] as const;
const baggageLimitBytes = 8192;

/** Keys in ztunnel's order; empty ones are left out. */
export function formatBaggage(baggage: WorkloadBaggage): string {
  const entries: [string, string | undefined][] = [
    ["k8s.cluster.name", baggage.clusterName],
    ["k8s.namespace.name", baggage.namespace],
    [`k8s.${baggage.workloadType ?? "pod"}.name`, baggage.workloadName],
    ["service.name", baggage.serviceName],
    ["service.version", baggage.serviceVersion],
    ["cloud.region", baggage.region],
    ["cloud.availability_zone", baggage.zone],
  ];
  return entries.flatMap(([key, value]) => (value ? [`${key}=${value}`] : [])).join(",");
}

/** Reads all `baggage` lines of a request. Unknown keys and malformed members are passed over, as are bytes past 8 KiB. */
export function parseBaggage(lines: readonly string[]): WorkloadBaggage {
  const found = new Map<string, string>();
  for (const member of lines.join(",").slice(0, baggageLimitBytes).split(",")) {
    const [pair = ""] = member.split(";");
    const at = pair.indexOf("=");
    if (at <= 0) continue;
    const key = pair.slice(0, at).trim();
    const value = pair.slice(at + 1).trim();
    if (value !== "" && !found.has(key)) found.set(key, value);
  }
  const result: { -readonly [K in keyof WorkloadBaggage]: WorkloadBaggage[K] } = {};
  const put = (name: Exclude<keyof WorkloadBaggage, "workloadType">, key: string): void => {
    const value = found.get(key);
    if (value !== undefined) result[name] = value;
  };
  put("clusterName", "k8s.cluster.name");
  put("namespace", "k8s.namespace.name");
  put("serviceName", "service.name");
  put("serviceVersion", "service.version");
  put("region", "cloud.region");
  put("zone", "cloud.availability_zone");
  for (const type of workloadTypes) {
    const name = found.get(`k8s.${type}.name`);
    if (name !== undefined && result.workloadName === undefined) {
      result.workloadName = name;
      result.workloadType = type;
    }
  }
  return result;
}

/** Splits at a separator that stands outside quoted strings; undefined when a quote is left open. */
function splitOutsideQuotes(text: string, separator: string): string[] | undefined {
  const parts: string[] = [];
  let quoted = false;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (quoted && char === "\\") i++;
    else if (char === '"') quoted = !quoted;
    else if (!quoted && char === separator) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  if (quoted) return undefined;
  parts.push(text.slice(start));
  return parts;
}
