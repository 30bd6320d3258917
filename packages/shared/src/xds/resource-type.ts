/** One kind of xDS resource: its type URL, and how its bytes (the value of the `Any`) are read. */
export interface ResourceType<T> {
  readonly typeUrl: string;
  /** Throws `Error` that says what is wrong; that resource alone is then NACKed. */
  decode(bytes: Uint8Array): T;
}

/** One response of the control plane, decoded. Removals come before upserts. */
export interface ResourceUpdate<T> {
  readonly upserts: readonly {
    readonly name: string;
    readonly version: string;
    readonly resource: T;
  }[];
  readonly removed: readonly string[];
  /** Named resources whose bytes could not be read. They are NACKed already; given so that a holder can fail closed. */
  readonly undecodable: readonly {
    readonly name: string;
    readonly reason: string;
  }[];
  /**
   * True for the first response of a stream to a wildcard subscription: rejected resources that still exist are in it
   * again (they were not recorded as held), so what was remembered of others that were rejected can be forgotten.
   */
  readonly firstOfStream: boolean;
}

/** Who holds the resources of one type. */
export interface ResourceHandler<T> {
  /**
   * Applies one response at once (no promise: readers see all of it or nothing). Returns the names it refused, each with
   * the reason; those are NACKed, keep their last good version and are not recorded as held. Must not throw.
   */
  apply(update: ResourceUpdate<T>): ReadonlyMap<string, string>;
}

/** A type and its handler, without the type parameter, as the client keeps them. Made by {@link createSubscription}. */
export interface Subscription {
  readonly typeUrl: string;
  /** "*": everything (wildcard). Else on demand: exactly these names or aliases. */
  readonly names: "*" | readonly string[];
  /** Decodes one resource; the value goes back into {@link Subscription.apply} untouched. */
  decode(bytes: Uint8Array): unknown;
  apply(update: ResourceUpdate<unknown>): ReadonlyMap<string, string>;
}

export function createSubscription<T>(
  type: ResourceType<T>,
  handler: ResourceHandler<T>,
  names: "*" | readonly string[] = "*",
): Subscription {
  return {
    typeUrl: type.typeUrl,
    names,
    decode: (bytes) => type.decode(bytes),
    // Sound: the client hands back only what this subscription's decode made.
    apply: (update) => handler.apply(update as ResourceUpdate<T>),
  };
}
