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

/** One response being read for a subscription: decoded resource by resource, then applied as a whole. */
export interface ResourceBatch {
  /** Takes one resource; one that cannot be decoded is remembered as undecodable. */
  add(name: string, version: string, bytes: Uint8Array): void;
  /** Takes a named resource that cannot be read for another reason (a wrong inner type, say). */
  addUnreadable(name: string, reason: string): void;
  /** Hands everything to the handler. Returns the refused names, undecodable ones included, with reasons. */
  apply(rest: { readonly removed: readonly string[]; readonly firstOfStream: boolean }): ReadonlyMap<string, string>;
}

/** A type and its handler, without the type parameter, as the client keeps them. Made by {@link createSubscription}. */
export interface Subscription {
  readonly typeUrl: string;
  /** "*": everything (wildcard). Else on demand: exactly these names or aliases. */
  readonly names: "*" | readonly string[];
  createBatch(): ResourceBatch;
}

export function createSubscription<T>(
  type: ResourceType<T>,
  handler: ResourceHandler<T>,
  names: "*" | readonly string[] = "*",
): Subscription {
  return { typeUrl: type.typeUrl, names, createBatch: () => createBatch(type, handler) };
}

function createBatch<T>(type: ResourceType<T>, handler: ResourceHandler<T>): ResourceBatch {
  // By name: of two resources with one name in a response the later one counts.
  const upserts = new Map<string, { name: string; version: string; resource: T }>();
  const undecodable = new Map<string, string>();
  return {
    add(name, version, bytes) {
      try {
        upserts.set(name, { name, version, resource: type.decode(bytes) });
        undecodable.delete(name);
      } catch (error) {
        this.addUnreadable(name, error instanceof Error ? error.message : String(error));
      }
    },
    addUnreadable(name, reason) {
      upserts.delete(name);
      undecodable.set(name, reason);
    },
    apply({ removed, firstOfStream }) {
      const rejected = handler.apply({
        upserts: [...upserts.values()],
        removed,
        undecodable: Array.from(undecodable, ([name, reason]) => ({ name, reason })),
        firstOfStream,
      });
      return new Map([...undecodable, ...rejected]);
    },
  };
}
