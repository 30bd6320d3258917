import { formatSocketAddress, formatSpiffeId } from "../model/index.ts";
import type { Decision } from "./evaluate.ts";
import type { ConnectionFacts } from "./match-rule.ts";

/** One sentence for logs and `hairpin explain`: who, to what, the outcome, and which policy and rule made it. */
export function explainDecision(decision: Decision, facts: ConnectionFacts): string {
  const source = facts.sourceIdentity === undefined ? "no identity" : formatSpiffeId(facts.sourceIdentity);
  const destination = formatSocketAddress({ ip: facts.destinationIp, port: facts.destinationPort });
  const outcome = decision.allowed ? "allowed" : "denied";
  return `connection from ${facts.sourceIp} (${source}) to ${destination} ${outcome}: ${decision.reason}${detail(decision)}`;
}

function detail(decision: Decision): string {
  const parts: string[] = [];
  if (decision.rule !== undefined) parts.push(`rule ${decision.rule}`);
  if (decision.unmatchedAllow) parts.push(`did not match ${decision.unmatchedAllow.join(", ")}`);
  const dry = decision.dryRun.filter((result) => result.matched);
  if (dry.length > 0) parts.push(`dry run matched ${dry.map((r) => `${r.action} ${r.policy}`).join(", ")}`);
  return parts.length === 0 ? "" : ` (${parts.join("; ")})`;
}
