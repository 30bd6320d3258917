/** What is wrong with a manifest, where, and what to do: everything a user needs to mend it. */
export interface Problem {
  /** An error keeps the object out; a warning lets it in. */
  readonly severity: "error" | "warning";
  /** As the user named it; `-` for standard input. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** `spec.rules[0].backendRefs[1].port`; empty when the whole document is meant. */
  readonly path: string;
  readonly reason: string;
  /** `HTTPRoute books/reviews`, when so much could be read. */
  readonly object?: string;
}

/** One line: `file:line: path: reason (object)`, the form that editors and terminals make a link of. */
export function formatProblem(problem: Problem): string {
  const object = problem.object === undefined ? "" : ` (${problem.object})`;
  const severity = problem.severity === "warning" ? "warning: " : "";
  return `${problem.file}:${problem.line}: ${severity}${withPath(problem.path, problem.reason)}${object}`;
}

/** `path: reason`, as {@link formatProblem} has it: for where there is no file. */
export function describeFault({ path, reason }: { readonly path: FieldPath; readonly reason: string }): string {
  return withPath(formatFieldPath(path), reason);
}

function withPath(path: string, reason: string): string {
  return path === "" ? reason : `${path}: ${reason}`;
}

/** Field names and list indexes from the root of an object. */
export type FieldPath = readonly (string | number)[];

/** `["spec", "ports", 0, "port"]` to `spec.ports[0].port`; keys with dots are put in brackets. */
export function formatFieldPath(path: FieldPath): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (/^[A-Za-z_][A-Za-z0-9_-]*$/.test(part)) text += text === "" ? part : `.${part}`;
    else text += `[${JSON.stringify(part)}]`;
  }
  return text;
}
