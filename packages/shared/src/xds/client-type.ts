import type { NackRecord } from "./delta-server-options.ts";
import type { Snapshot, VersionedResource } from "./snapshot.ts";

export interface ClientTypeLimits {
  readonly maxQueuedNames: number;
  readonly maxNamesPerClient: number;
  /** A response is cut here; the rest follows after its ACK. */
  readonly maxResponseBytes: number;
}

/** What one response carries. */
export interface PendingResponse {
  readonly resources: readonly VersionedResource[];
  readonly removed: readonly string[];
}

export interface SubscriptionRequest {
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: Readonly<Record<string, string>>;
}

interface Delivered {
  readonly version: string;
  acked: boolean;
}

/**
 * One type of one client: what it asked for, what it was sent, what waits. At most one response is unanswered; changes
 * meanwhile are kept as names, not as resources, so that a slow client costs little and gets the newest version. Above
 * the limit the names are dropped and everything is compared instead.
 */
export class ClientType {
  readonly typeUrl: string;
  readonly scope: string;
  readonly #limits: ClientTypeLimits;
  readonly #implied: readonly string[];
  readonly #subscribed = new Set<string>();
  readonly #delivered = new Map<string, Delivered>();
  readonly #queued = new Set<string>();
  /** Subscribed names that mean nothing, to be answered as removed once. */
  readonly #unknown = new Set<string>();
  #wildcard = false;
  #compareAll = false;
  #mustAnswer = false;
  #started = false;
  #everAcked = false;
  #inFlight: { readonly nonce: string; readonly names: readonly string[] } | undefined;
  resyncs = 0;
  nacks = 0;
  lastNack: NackRecord | undefined;

  constructor(identity: { typeUrl: string; scope: string; implied: readonly string[] }, limits: ClientTypeLimits) {
    this.typeUrl = identity.typeUrl;
    this.scope = identity.scope;
    this.#implied = identity.implied;
    this.#limits = limits;
  }

  get wildcard(): boolean {
    return this.#wildcard;
  }

  get subscribedNames(): number {
    return this.#subscribed.size;
  }

  get delivered(): number {
    return this.#delivered.size;
  }

  get waiting(): boolean {
    return this.#inFlight !== undefined;
  }

  get pending(): boolean {
    return this.#mustAnswer || this.#compareAll || this.#queued.size > 0 || this.#unknown.size > 0;
  }

  get upToDate(): boolean {
    return this.#everAcked && !this.waiting && !this.pending;
  }

  ackedVersion(name: string): string | undefined {
    const delivered = this.#delivered.get(name);
    return delivered?.acked === true ? delivered.version : undefined;
  }

  /** Takes the subscription part of a request. Returns why it is too much, if it is. */
  request(request: SubscriptionRequest, snapshot: Snapshot | undefined): string | undefined {
    const first = !this.#started;
    const held = Object.entries(request.initialVersions);
    const names = this.#subscribed.size + request.subscribe.length;
    if (Math.max(names, held.length) > this.#limits.maxNamesPerClient)
      return `more than ${this.#limits.maxNamesPerClient} names of ${this.typeUrl}`;
    if (first) {
      this.#started = true;
      // Nothing named at all: the wildcard of clients that know no other (ztunnel).
      this.#wildcard = request.subscribe.length === 0;
      for (const [name, version] of held) this.#delivered.set(name, { version, acked: true });
    } else if (request.subscribe.length === 0 && request.unsubscribe.length === 0) return undefined;
    this.#subscribe(request.subscribe, { resend: !first, snapshot });
    this.#unsubscribe(request.unsubscribe, snapshot);
    if (first || request.subscribe.length > 0) {
      this.#mustAnswer = true;
      this.#compareAll = true;
    }
    return undefined;
  }

  /** Names of the snapshot changed. */
  changed(names: ReadonlySet<string>): void {
    if (!this.#started || this.#compareAll) return;
    if (!this.#wildcard || this.#queued.size + names.size > this.#limits.maxQueuedNames) {
      // On-demand sets are small, and what a change means for them depends on aliases and followers.
      if (this.#wildcard) this.resyncs++;
      this.#compareAll = true;
      this.#queued.clear();
      return;
    }
    for (const name of names) this.#queued.add(name);
  }

  /** The next response, or undefined when there is nothing to say. Call only when not {@link waiting}. */
  next(snapshot: Snapshot): PendingResponse | undefined {
    // Undefined: everything is wanted.
    const wanted = this.#wildcard ? undefined : this.#wantedNames(snapshot);
    const candidates = this.#compareAll
      ? new Set([...(wanted ?? snapshot.names()), ...this.#delivered.keys()])
      : this.#queued;
    for (const name of this.#unknown) if (snapshot.resolve(name).length > 0) this.#unknown.delete(name);
    const resources: VersionedResource[] = [];
    const removed = [...this.#unknown];
    const left = new Set<string>();
    let bytes = 0;
    for (const name of candidates) {
      const resource = snapshot.get(name);
      const delivered = this.#delivered.get(name);
      if (resource === undefined || wanted?.has(name) === false) {
        if (delivered !== undefined) removed.push(name);
      } else if (delivered?.version !== resource.version) {
        bytes += resource.body.length;
        if (bytes > this.#limits.maxResponseBytes && resources.length > 0) left.add(name);
        else resources.push(resource);
      }
    }
    this.#compareAll = false;
    this.#unknown.clear();
    this.#queued.clear();
    for (const name of left) this.#queued.add(name);
    const mustAnswer = this.#mustAnswer;
    this.#mustAnswer = false;
    return resources.length > 0 || removed.length > 0 || mustAnswer ? { resources, removed } : undefined;
  }

  sent(nonce: string, response: PendingResponse): void {
    for (const { name, version } of response.resources) this.#delivered.set(name, { version, acked: false });
    for (const name of response.removed) this.#delivered.delete(name);
    this.#inFlight = { nonce, names: response.resources.map((resource) => resource.name) };
  }

  /**
   * Takes an ACK or NACK. False: the nonce is not that of the response in flight. After a NACK none of its resources counts
   * as acknowledged (the client's text does not say reliably which were taken), and none is sent again until it changes.
   */
  answered(nonce: string, nack: NackRecord | undefined): boolean {
    if (this.#inFlight?.nonce !== nonce) return false;
    const { names } = this.#inFlight;
    this.#inFlight = undefined;
    if (nack !== undefined) {
      this.nacks++;
      this.lastNack = nack;
      return true;
    }
    this.#everAcked = true;
    for (const name of names) {
      const delivered = this.#delivered.get(name);
      if (delivered) delivered.acked = true;
    }
    return true;
  }

  #subscribe(names: readonly string[], how: { resend: boolean; snapshot: Snapshot | undefined }): void {
    for (const name of names) {
      if (name === "*") this.#wildcard = true;
      else {
        this.#subscribed.add(name);
        const resolved = how.snapshot?.resolve(name) ?? [];
        // A client that asks again has thrown it away, and gets it again (xDS, "Subscribing to resources").
        if (how.resend) for (const each of resolved) this.#delivered.delete(each);
        if (resolved.length === 0) this.#unknown.add(name);
      }
    }
  }

  /** What the client gives up it forgets by itself: nothing is sent as removed. */
  #unsubscribe(names: readonly string[], snapshot: Snapshot | undefined): void {
    if (names.length === 0) return;
    for (const name of names) {
      if (name === "*") this.#wildcard = false;
      this.#subscribed.delete(name);
      this.#unknown.delete(name);
    }
    if (snapshot === undefined || this.#wildcard) return;
    const wanted = this.#wantedNames(snapshot);
    for (const name of this.#delivered.keys()) if (!wanted.has(name)) this.#delivered.delete(name);
  }

  /** Subscribed names and aliases, and what follows them or an implied name. O(the result). */
  #wantedNames(snapshot: Snapshot): Set<string> {
    const wanted = new Set<string>();
    for (const subscribed of this.#subscribed)
      for (const name of snapshot.resolve(subscribed)) {
        wanted.add(name);
        for (const follower of snapshot.followersOf(name)) wanted.add(follower);
      }
    for (const implied of this.#implied) for (const follower of snapshot.followersOf(implied)) wanted.add(follower);
    return wanted;
  }
}
