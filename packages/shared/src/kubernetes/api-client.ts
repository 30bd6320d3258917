import type { KubernetesObject } from "./kubernetes-object.ts";

/** Which kind; the client asks the server's discovery for its path and whether it has a namespace. */
export interface ResourceKind {
  /** `v1`, `apps/v1`. */
  readonly apiVersion: string;
  readonly kind: string;
}

/** One object. `namespace` is left out for kinds without one. */
export interface ObjectPath extends ResourceKind {
  readonly namespace?: string;
  readonly name: string;
}

/** Which objects of a kind; everything when empty. */
export interface Selection {
  readonly namespace?: string;
  /** As kubectl's `-l`: `app=web,tier!=db`. */
  readonly labelSelector?: string;
  /** As kubectl's `--field-selector`: `metadata.name=istio-ca-root-cert`. */
  readonly fieldSelector?: string;
}

export interface ListOptions extends Selection {
  /** Objects a page; default: all in one. */
  readonly limit?: number;
  /** {@link ListPage.continueToken} of the page before. */
  readonly continueToken?: string;
  /** "0": whatever the server has at hand. Default: the newest. */
  readonly resourceVersion?: string;
}

export interface ListPage<T> {
  readonly items: readonly T[];
  /** Where a watch goes on. */
  readonly resourceVersion: string;
  /** Undefined on the last page. */
  readonly continueToken: string | undefined;
}

export interface WatchOptions extends Selection {
  readonly resourceVersion: string;
  readonly signal: AbortSignal;
  /** The server ends the watch after this long. Default 5 to 10 minutes at random. */
  readonly timeoutSeconds?: number;
}

export type WatchEvent<T> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: T }
  /** Nothing changed, but this is how far the watch has come. */
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string };

export interface ApplyOptions {
  readonly fieldManager: string;
  /** Takes fields that others own. Default false: that is an `API_CONFLICT`. */
  readonly force?: boolean;
  readonly subresource?: "status";
}

export interface DeleteOptions {
  readonly propagation?: "Background" | "Foreground" | "Orphan";
  /** The object must still be this one, or it is an `API_CONFLICT`. */
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
}

/**
 * The API server. Every method rejects with {@link ApiError}; answers 429 and 503 that say when to come back are obeyed a few
 * times first. Idempotent calls are tried again on a connection that broke; others are the caller's to decide.
 */
export interface KubernetesApi {
  /** Undefined: no such object. A kind that is not served is an error (`API_KIND_UNKNOWN`). */
  get<T extends KubernetesObject>(path: ObjectPath): Promise<T | undefined>;
  /** One page. */
  list<T extends KubernetesObject>(kind: ResourceKind, options?: ListOptions): Promise<ListPage<T>>;
  /** `API_ALREADY_EXISTS` when there is one of that name. */
  create<T extends KubernetesObject>(object: T, options?: { readonly fieldManager?: string }): Promise<T>;
  /** Overwrites; with `metadata.resourceVersion` only that version (`API_CONFLICT`). */
  replace<T extends KubernetesObject>(
    object: T,
    options?: { readonly fieldManager?: string; readonly subresource?: "status" },
  ): Promise<T>;
  /**
   * Server-side apply: creates, or changes the fields given and takes back those that this manager gave before. With
   * `metadata.resourceVersion` only on that version (`API_CONFLICT`), with `metadata.uid` only on that object.
   */
  apply<T extends KubernetesObject>(object: T, options: ApplyOptions): Promise<T>;
  /** Sets the fields given and takes away those given as null (RFC 7386). With `metadata.uid` only on that object. */
  mergePatch<T extends KubernetesObject>(
    path: ObjectPath,
    change: Readonly<Record<string, unknown>>,
    options?: { readonly fieldManager?: string; readonly subresource?: "status" },
  ): Promise<T>;
  /** False: there was none. */
  delete(path: ObjectPath, options?: DeleteOptions): Promise<boolean>;
  /**
   * Changes after `resourceVersion`, until the server ends the watch (the iteration ends) or `signal` is aborted (likewise).
   * Throws `API_EXPIRED` when the version is too old: list anew.
   */
  watch<T extends KubernetesObject>(kind: ResourceKind, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  /** Objects that are only a question: TokenReview, SubjectAccessReview. Gives them back with `status`. */
  review<Answer>(question: ResourceKind & { readonly spec: unknown }): Promise<Answer>;
  /** The version under which a kind is served now (the group's preferred one that has it); undefined: it is not. */
  findServed(group: string, kind: string): Promise<ResourceKind | undefined>;
}
