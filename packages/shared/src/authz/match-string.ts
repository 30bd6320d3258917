import type { StringMatch } from "../model/index.ts";

/** Whether a value fits one string of a policy. `presence` needs a non-empty value; case matters (ztunnel's rbac.rs). */
export function matchString(match: StringMatch, value: string): boolean {
  switch (match.kind) {
    case "exact":
      return value === match.value;
    case "prefix":
      return value.startsWith(match.value);
    case "suffix":
      return value.endsWith(match.value);
    case "presence":
      return value !== "";
    default:
      throw new Error(`A string match has an unknown kind: ${JSON.stringify(match satisfies never)}`);
  }
}
