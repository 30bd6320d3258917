import type { MessageInitShape } from "@bufbuild/protobuf";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { isDryRun } from "../ambient/policy/authorization-policy.ts";
import type {
  AuthorizationPolicyObject,
  AuthorizationRule,
  PolicyOperation,
  PolicySource,
} from "../collection/kubernetes-object.ts";

export type PolicyInit = MessageInitShape<typeof hairpinWaypoint.PolicySchema>;
type RuleInit = MessageInitShape<typeof hairpinWaypoint.PolicyRuleSchema>;

/** The policy as its user wrote it, with service accounts qualified. Throws for fields of the wrong type. */
export function buildWaypointPolicy(policy: AuthorizationPolicyObject): PolicyInit {
  const namespace = policy.metadata.namespace ?? "";
  return {
    namespace,
    name: policy.metadata.name,
    action: actionOf(policy.spec?.action ?? "ALLOW"),
    rules: (policy.spec?.rules ?? []).map((rule) => buildRule(rule, namespace)),
    dryRun: isDryRun(policy),
  };
}

/** What takes the place of a policy that cannot be read: an ALLOW without rules, which refuses everything. */
export function refusingPolicy(policy: AuthorizationPolicyObject): PolicyInit {
  const namespace = policy.metadata.namespace ?? "";
  return { namespace, name: policy.metadata.name, action: hairpinWaypoint.Policy_Action.ALLOW };
}

function actionOf(action: string): hairpinWaypoint.Policy_Action {
  const { Policy_Action } = hairpinWaypoint;
  if (action === "ALLOW" || action === "DENY" || action === "AUDIT" || action === "CUSTOM")
    return Policy_Action[action];
  throw new Error(`action ${JSON.stringify(action)} is none of ALLOW, DENY, AUDIT, CUSTOM`);
}

function buildRule(rule: AuthorizationRule, namespace: string): RuleInit {
  return {
    from: (rule.from ?? []).map(({ source }) => buildSource(source ?? {}, namespace)),
    to: (rule.to ?? []).map(({ operation }) => buildOperation(operation ?? {})),
    when: (rule.when ?? []).map(({ key, values, notValues }) => ({
      key,
      values: texts(values),
      notValues: texts(notValues),
    })),
  };
}

function buildSource(source: PolicySource, namespace: string): MessageInitShape<typeof hairpinWaypoint.SourceSchema> {
  const qualify = (account: string): string => (account.includes("/") ? account : `${namespace}/${account}`);
  return {
    principals: texts(source.principals),
    notPrincipals: texts(source.notPrincipals),
    requestPrincipals: texts(source.requestPrincipals),
    notRequestPrincipals: texts(source.notRequestPrincipals),
    namespaces: texts(source.namespaces),
    notNamespaces: texts(source.notNamespaces),
    ipBlocks: texts(source.ipBlocks),
    notIpBlocks: texts(source.notIpBlocks),
    remoteIpBlocks: texts(source.remoteIpBlocks),
    notRemoteIpBlocks: texts(source.notRemoteIpBlocks),
    serviceAccounts: texts(source.serviceAccounts).map(qualify),
    notServiceAccounts: texts(source.notServiceAccounts).map(qualify),
    trustDomains: texts(source.trustDomains),
    notTrustDomains: texts(source.notTrustDomains),
  };
}

function buildOperation(operation: PolicyOperation): MessageInitShape<typeof hairpinWaypoint.OperationSchema> {
  return {
    hosts: texts(operation.hosts),
    notHosts: texts(operation.notHosts),
    ports: texts(operation.ports),
    notPorts: texts(operation.notPorts),
    methods: texts(operation.methods),
    notMethods: texts(operation.notMethods),
    paths: texts(operation.paths),
    notPaths: texts(operation.notPaths),
  };
}

function texts(values: readonly string[] | undefined): string[] {
  return (values ?? []).map(String);
}
