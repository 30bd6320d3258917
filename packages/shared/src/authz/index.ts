export * from "./evaluate.ts";
export * from "./explain.ts";
export { type ConnectionFacts, type MatchInput, matchInput, matchRule } from "./match-rule.ts";
export { matchString } from "./match-string.ts";
