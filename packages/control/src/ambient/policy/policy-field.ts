import type { istioSecurity } from "@hairpin/shared/api";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { PolicyCondition, PolicyOperation, PolicySource } from "../../collection/kubernetes-object.ts";
import { readCidr, readPort, readServiceAccount, readStringMatch } from "./policy-value.ts";

export type MatchInit = MessageInitShape<typeof istioSecurity.MatchSchema>;
type MatchField = Exclude<keyof MatchInit, "extensions" | "$typeName" | "$unknown">;

/** One list of a policy: what it is called there, and where its values go in a Match. */
export interface PolicyField {
  /** As the user wrote it, for conditions. */
  readonly name: string;
  readonly values: readonly string[];
  /** Undefined: ztunnel has nothing to compare it with (HTTP attributes, JWT, SNI …). */
  readonly target: { readonly field: MatchField; readonly negative: boolean; readonly read: Reader } | undefined;
}

type Reader = (text: string, policyNamespace: string) => unknown;

interface TargetPair {
  readonly positive: MatchField;
  readonly negative: MatchField;
  readonly read: Reader;
}

const principals: TargetPair = { positive: "principals", negative: "notPrincipals", read: readStringMatch };
const namespaces: TargetPair = { positive: "namespaces", negative: "notNamespaces", read: readStringMatch };
const accounts: TargetPair = {
  positive: "serviceAccounts",
  negative: "notServiceAccounts",
  read: readServiceAccount,
};
const sourceIps: TargetPair = { positive: "sourceIps", negative: "notSourceIps", read: readCidr };
const destinationIps: TargetPair = { positive: "destinationIps", negative: "notDestinationIps", read: readCidr };
const ports: TargetPair = { positive: "destinationPorts", negative: "notDestinationPorts", read: readPort };

/** Names of lists by what they mean; every list has a twin that starts with "not". */
const sourceTargets: Readonly<Record<string, TargetPair | undefined>> = {
  principals,
  namespaces,
  serviceAccounts: accounts,
  ipBlocks: sourceIps,
  requestPrincipals: undefined,
  remoteIpBlocks: undefined,
  trustDomains: undefined,
};
const operationTargets: Readonly<Record<string, TargetPair | undefined>> = {
  ports,
  hosts: undefined,
  methods: undefined,
  paths: undefined,
};
const conditionTargets: ReadonlyMap<string, TargetPair> = new Map([
  ["source.ip", sourceIps],
  ["source.namespace", namespaces],
  ["source.principal", principals],
  ["destination.ip", destinationIps],
  ["destination.port", ports],
]);

export function fieldsOfSource(source: PolicySource): PolicyField[] {
  return fieldsOf(source as Readonly<Record<string, readonly string[] | undefined>>, sourceTargets);
}

export function fieldsOfOperation(operation: PolicyOperation): PolicyField[] {
  return fieldsOf(operation as Readonly<Record<string, readonly string[] | undefined>>, operationTargets);
}

export function fieldsOfCondition(condition: PolicyCondition): PolicyField[] {
  const pair = conditionTargets.get(condition.key);
  return [
    toField(condition.key, condition.values ?? [], pair, false),
    toField(condition.key, condition.notValues ?? [], pair, true),
  ].filter((field) => field.values.length > 0);
}

function fieldsOf(
  lists: Readonly<Record<string, readonly string[] | undefined>>,
  targets: Readonly<Record<string, TargetPair | undefined>>,
): PolicyField[] {
  return Object.entries(lists).flatMap(([name, values]) => {
    if (values === undefined || values.length === 0) return [];
    const negative = name.startsWith("not");
    const positiveName = negative ? name.charAt(3).toLowerCase() + name.slice(4) : name;
    return [toField(name, values, targets[positiveName], negative)];
  });
}

function toField(
  name: string,
  values: readonly string[],
  pair: TargetPair | undefined,
  negative: boolean,
): PolicyField {
  if (pair === undefined) return { name, values, target: undefined };
  return { name, values, target: { field: negative ? pair.negative : pair.positive, negative, read: pair.read } };
}
