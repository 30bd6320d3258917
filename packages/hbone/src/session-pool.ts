/** What the pool needs of a session that carries tunnels. */
export interface PooledSession {
  /** Tunnels open now. */
  readonly openTunnels: number;
  /** Tunnels that may be open at once: our limit and the peer's, whichever is less. 0 once the session is closing. */
  readonly capacity: number;
  /** Called when a tunnel closed. One listener: the pool. */
  onTunnelClosed: (() => void) | undefined;
  /** Called once, when the session is closing or gone and takes no further tunnel. One listener: the pool. */
  onUnusable: (() => void) | undefined;
  /** Lets open tunnels finish, then closes the connection. */
  close(): void;
  /** Closes the connection now. */
  destroy(error: Error): void;
}

/** The timers that the pool uses; shared/process's Clock fits. */
export interface PoolClock {
  setTimer(ms: number, callback: () => void): { cancel(): void };
}

export interface SessionPoolOptions {
  /** How long a session without tunnels is kept. Default 5 min (ztunnel's POOL_UNUSED_RELEASE_TIMEOUT). */
  readonly idleReleaseMs: number;
}

interface Entry<S extends PooledSession> {
  readonly sessions: Set<S>;
  /** The one dial in flight for this key. */
  dialing: Promise<S> | undefined;
}

/**
 * Sessions by key, so that tunnels of one source to one destination share few connections. One dial is in flight per
 * key: callers that come meanwhile wait for it and share its failure. A session that is closing is never handed out.
 */
export class SessionPool<S extends PooledSession> {
  readonly #clock: PoolClock;
  readonly #options: SessionPoolOptions;
  readonly #entries = new Map<string, Entry<S>>();
  readonly #idleTimers = new Map<S, { cancel(): void }>();
  #closed = false;

  constructor(clock: PoolClock, options: SessionPoolOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Sessions held, over all keys. */
  get size(): number {
    let size = 0;
    for (const entry of this.#entries.values()) size += entry.sessions.size;
    return size;
  }

  /**
   * Calls `use` with a session of the key that has room, dialling one when there is none. `use` runs in the same turn
   * as the choice and must open its tunnel before it returns, so that room cannot be given away twice.
   * Rejects with the error of `dial`, or when the pool is closed.
   */
  async withSession<T>(key: string, dial: () => Promise<S>, use: (session: S) => T, except?: S): Promise<T> {
    for (;;) {
      if (this.#closed) throw new Error("The session pool is closed");
      const entry = this.#entry(key);
      const session = findRoom(entry.sessions, except);
      if (session) {
        this.#idleTimers.get(session)?.cancel();
        this.#idleTimers.delete(session);
        try {
          return use(session);
        } finally {
          if (session.openTunnels === 0) this.#watchIdle(key, session);
        }
      }
      entry.dialing ??= this.#dial(key, entry, dial);
      const dialled = await entry.dialing;
      // A peer that allows no stream at all would have every caller dial for ever.
      if (dialled.openTunnels === 0 && dialled.capacity === 0)
        throw new Error("The peer's session closed, or takes no stream, right after it was opened");
    }
  }

  /** Closes every session after its tunnels ended; the pool hands out nothing more. */
  close(): void {
    this.#closed = true;
    for (const session of this.#drain()) session.close();
  }

  /** Closes every session and its tunnels now. */
  destroy(error: Error): void {
    this.#closed = true;
    for (const session of this.#drain()) session.destroy(error);
  }

  #entry(key: string): Entry<S> {
    let entry = this.#entries.get(key);
    if (!entry) {
      entry = { sessions: new Set(), dialing: undefined };
      this.#entries.set(key, entry);
    }
    return entry;
  }

  async #dial(key: string, entry: Entry<S>, dial: () => Promise<S>): Promise<S> {
    try {
      const session = await dial();
      if (this.#closed) {
        session.destroy(new Error("The session pool is closed"));
        return session;
      }
      entry.sessions.add(session);
      session.onUnusable = () => this.#remove(key, session);
      session.onTunnelClosed = () => {
        if (session.openTunnels === 0) this.#watchIdle(key, session);
      };
      return session;
    } finally {
      entry.dialing = undefined;
      this.#forgetEmpty(key);
    }
  }

  #watchIdle(key: string, session: S): void {
    if (!this.#entries.get(key)?.sessions.has(session) || this.#idleTimers.has(session)) return;
    const release = (): void => {
      this.#remove(key, session);
      session.close();
    };
    // A peer that allows no stream now would collect a session for each dial.
    const idleMs = session.capacity === 0 ? 0 : this.#options.idleReleaseMs;
    this.#idleTimers.set(session, this.#clock.setTimer(idleMs, release));
  }

  #remove(key: string, session: S): void {
    this.#entries.get(key)?.sessions.delete(session);
    this.#idleTimers.get(session)?.cancel();
    this.#idleTimers.delete(session);
    this.#forgetEmpty(key);
  }

  #forgetEmpty(key: string): void {
    const entry = this.#entries.get(key);
    if (entry && entry.sessions.size === 0 && !entry.dialing) this.#entries.delete(key);
  }

  #drain(): S[] {
    const sessions = [...this.#entries.values()].flatMap((entry) => [...entry.sessions]);
    for (const timer of this.#idleTimers.values()) timer.cancel();
    this.#idleTimers.clear();
    this.#entries.clear();
    return sessions;
  }
}

function findRoom<S extends PooledSession>(sessions: ReadonlySet<S>, except: S | undefined): S | undefined {
  for (const session of sessions) {
    if (session !== except && session.openTunnels < session.capacity) return session;
  }
  return undefined;
}
