/** How a request goes wrong: with a status, with the connection cut before an answer, or with no answer at all. */
export type Fault =
  | { readonly status: number; readonly reason?: string; readonly retryAfterSeconds?: number }
  | "cut"
  | "hang";

/** Which requests; what is left out matches all. */
export interface RequestMatch {
  readonly verb?: Verb;
  readonly kind?: string;
}

export type Verb = "get" | "list" | "watch" | "create" | "replace" | "apply" | "patch" | "delete" | "discover";

interface PlannedFault extends RequestMatch {
  readonly fault: Fault;
  left: number;
}

/** Faults that wait for their requests, in the order in which they were planned. */
export class FaultPlan {
  readonly #planned: PlannedFault[] = [];

  add(match: RequestMatch, fault: Fault, times: number): void {
    this.#planned.push({ ...match, fault, left: times });
  }

  take(verb: Verb, kind: string): Fault | undefined {
    const found = this.#planned.find(
      (planned) =>
        planned.left > 0 &&
        (planned.verb === undefined || planned.verb === verb) &&
        (planned.kind === undefined || planned.kind === kind),
    );
    if (found === undefined) return undefined;
    found.left--;
    return found.fault;
  }

  clear(): void {
    this.#planned.length = 0;
  }
}
