/** How many native objects this thread owns. What is not freed shows here, not in the heap. */
export interface OpensslObjectCounts {
  contexts: number;
  connections: number;
  /** Certificates, keys and BIOs that live while PEM is read. */
  temporaries: number;
}

/** Counted by the owners; the BIOs that the thread keeps for all its connections are not among them. */
export const liveObjects: OpensslObjectCounts = { contexts: 0, connections: 0, temporaries: 0 };

/** A copy of this thread's counts: all zero once every context and connection was closed. */
export function liveOpensslObjects(): Readonly<OpensslObjectCounts> {
  return { ...liveObjects };
}
