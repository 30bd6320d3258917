export * from "./evaluate.ts";
export * from "./explain.ts";
export { type ConnectionFacts, MatchInput, matchRule } from "./match-rule.ts";
export { matchString } from "./match-string.ts";
