/** What a route asks for that cannot be done as written; becomes its conditions. */
export interface RouteFinding {
  readonly kind:
    /** A value or filter that is not supported: the rule answers 500. */
    | "unsupported"
    /** The rule cannot be evaluated and is dropped. */
    | "dropped"
    | "incompatible-filters"
    /** A backendRef; `reason` is the one of condition ResolvedRefs. Its share of requests gets 500. */
    | "backend"
    /** A field that is ignored. */
    | "ignored";
  readonly reason?: BackendReason;
  readonly message: string;
}

export type BackendReason = "InvalidKind" | "BackendNotFound" | "UnsupportedProtocol";
