// One turn of this thread's event loop: every socket that has bytes is read, one after the other; then the turn ends.

/** Has something to do once the event loop has made all reads of its turn. */
export interface AtTurnEnd {
  onTurnEnd(): void;
}

/** Of this thread, in the order in which they came. */
let waiting: AtTurnEnd[] = [];
/** The end of this turn will be noticed, and its reads are counted. */
let ending = false;
let reads = 0;
let many = false;
let fewReadsTurns = 0;
let readsUntilProbe = 1;

/** Turns are full when one has this many reads, or more than half of it after a probe in its midst. */
const manyReads = 16;
/** Turns are no longer full when so many in a row had fewer reads than that. */
const maxFewReadsTurns = 16;
/** While turns are not full only one read in so many looks how many others follow it: noticing a turn's end costs up to 5 µs. */
const probeInterval = 64;

/**
 * Calls `onTurnEnd` when every socket that had bytes was read. What many sockets make a session send then leaves in one record and one
 * write(2): with 64 connections over one session 15 µs of CPU a request instead of 25. The loop does not sleep before it, so a
 * single connection waits for nothing (a microtask would run after each read).
 */
export function callAtTurnEnd(caller: AtTurnEnd): void {
  if (!ending) awaitTurnEnd();
  waiting.push(caller);
}

/** A socket was read, in this turn. */
export function noteRead(): void {
  if (ending) reads++;
  else if (many || --readsUntilProbe <= 0) {
    awaitTurnEnd();
    reads = 1;
  }
}

/**
 * Turns have many reads lately, so many writes too. Then those are better made one after the other at the end of the turn: each wakes
 * its receiver if that sleeps, which costs more than the write itself, and one that was just woken takes more than one.
 */
export function turnsAreFull(): boolean {
  return many;
}

function awaitTurnEnd(): void {
  ending = true;
  setImmediate(endTurn);
}

function endTurn(): void {
  ending = false;
  judgeTurn(reads);
  reads = 0;
  const due = waiting;
  if (due.length === 0) return;
  waiting = [];
  let called = 0;
  try {
    for (const caller of due) {
      called++;
      caller.onTurnEnd();
    }
  } finally {
    // One that throws takes nobody else with it.
    for (const caller of due.slice(called)) callAtTurnEnd(caller);
  }
}

function judgeTurn(count: number): void {
  readsUntilProbe = probeInterval;
  if (!many) many = count > manyReads / 2;
  else if (count >= manyReads) fewReadsTurns = 0;
  else if (++fewReadsTurns > maxFewReadsTurns) {
    many = false;
    fewReadsTurns = 0;
  }
}
