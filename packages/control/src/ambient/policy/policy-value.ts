// Reads the single values of L4 policy fields. Undefined: the text cannot be understood.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { istioSecurity } from "@hairpin/shared/api";
import { ipBytes, parseCidr } from "@hairpin/shared/model";

export type StringMatchInit = MessageInitShape<typeof istioSecurity.StringMatchSchema>;
export type AddressInit = MessageInitShape<typeof istioSecurity.AddressSchema>;
export type AccountInit = MessageInitShape<typeof istioSecurity.ServiceAccountMatchSchema>;

/** `*` any non-empty value, `x*` prefix, `*x` suffix, else exact. */
export function readStringMatch(text: string): StringMatchInit {
  if (text === "*") return { matchType: { case: "presence", value: {} } };
  if (text.startsWith("*")) return { matchType: { case: "suffix", value: text.slice(1) } };
  if (text.endsWith("*")) return { matchType: { case: "prefix", value: text.slice(0, -1) } };
  return { matchType: { case: "exact", value: text } };
}

/** An IP without length is that one address. */
export function readCidr(text: string): AddressInit | undefined {
  try {
    const { ip, prefixLength } = parseCidr(text);
    return { address: ipBytes(ip), length: prefixLength };
  } catch {
    return undefined;
  }
}

export function readPort(text: string): number | undefined {
  if (!/^[0-9]{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port >= 1 && port <= 65535 ? port : undefined;
}

/** `name` is in the policy's namespace, `namespace/name` elsewhere. Wildcards are not allowed here. */
export function readServiceAccount(text: string, policyNamespace: string): AccountInit | undefined {
  const parts = text.split("/");
  if (parts.length > 2 || parts.some((part) => part === "" || part.includes("*"))) return undefined;
  const [first = "", second] = parts;
  return second === undefined
    ? { namespace: policyNamespace, serviceAccount: first }
    : { namespace: first, serviceAccount: second };
}
