/** Descriptors that accepted connections leave to xDS, the CA, listeners and logs. */
const reservedDescriptors = 64;
/** The part of the others that accepted connections and what they dial may have. */
const usablePart = 0.9;

/** Connections that `threads` threads may accept each, when each needs another one upstream and the process may open `descriptors`. */
export function connectionsPerThread(descriptors: number, threads: number): number {
  return Math.max(1, Math.floor(((descriptors - reservedDescriptors) * usablePart) / 2 / Math.max(1, threads)));
}

/** Accepted connections of all pods of this thread: one pod cannot take the descriptors of the others. */
export class ConnectionLimit {
  readonly #most: number;
  #open = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** False: there are as many as may be; nothing was taken then. */
  take(): boolean {
    if (this.#open >= this.#most) return false;
    this.#open++;
    return true;
  }

  /** For each `take` that was true, once. */
  release(): void {
    this.#open--;
  }
}
