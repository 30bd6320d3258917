import type { ByteChannel, ByteChannelHandler } from "@hairpin/wire";

/** Bytes of one relayed connection so far; live, so that metrics and the admin page can read them at any time. */
export interface RelayCounters {
  /** Downstream to upstream. */
  bytesReceived: number;
  /** Upstream to downstream. */
  bytesSent: number;
}

/** How a relay ended. */
export interface RelayResult {
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** Undefined when both directions ended properly. */
  readonly error: Error | undefined;
  /** The side that broke. */
  readonly brokenSide: "downstream" | "upstream" | undefined;
}

/**
 * Copies bytes both ways until both directions ended, one side broke, or either channel was destroyed by somebody.
 * An end on one side ends the other side's matching direction only (half-close); a break on one side resets the other.
 * At most one chunk beyond the writer's high-water mark is in memory per direction: a full writer pauses its reader.
 *
 * Takes over both channels (sets their handlers) and resolves, never rejects, once both are closed.
 */
export function relay(
  downstream: ByteChannel,
  upstream: ByteChannel,
  counters: RelayCounters = { bytesReceived: 0, bytesSent: 0 },
): Promise<RelayResult> {
  return new Promise((resolve) => {
    let open = 2;
    let error: Error | undefined;
    let brokenSide: "downstream" | "upstream" | undefined;
    const closed = (side: "downstream" | "upstream", reason: Error | undefined): void => {
      if (reason && !brokenSide) [error, brokenSide] = [reason, side];
      if (--open === 0) {
        resolve({ bytesReceived: counters.bytesReceived, bytesSent: counters.bytesSent, error, brokenSide });
      }
    };
    downstream.setHandler(
      new RelaySide(
        downstream,
        upstream,
        (n) => (counters.bytesReceived += n),
        (reason) => closed("downstream", reason),
      ),
    );
    upstream.setHandler(
      new RelaySide(
        upstream,
        downstream,
        (n) => (counters.bytesSent += n),
        (reason) => closed("upstream", reason),
      ),
    );
    downstream.resume();
    upstream.resume();
  });
}

/** Handles the events of `from`: data and end go to `to`; drain of `from` lets `to` read again. */
class RelaySide implements ByteChannelHandler {
  readonly #from: ByteChannel;
  readonly #to: ByteChannel;
  readonly #count: (bytes: number) => void;
  readonly #onClosed: (error: Error | undefined) => void;
  #ended = false;

  constructor(
    from: ByteChannel,
    to: ByteChannel,
    count: (bytes: number) => void,
    onClosed: (error: Error | undefined) => void,
  ) {
    this.#from = from;
    this.#to = to;
    this.#count = count;
    this.#onClosed = onClosed;
  }

  onData(chunk: Uint8Array): void {
    this.#count(chunk.length);
    if (!this.#to.write(chunk)) this.#from.pause();
  }

  onEnd(): void {
    this.#ended = true;
    this.#to.end();
  }

  onDrain(): void {
    this.#to.resume();
  }

  onClose(error: Error | undefined): void {
    // After a clean end the other side knows by onEnd. A break, or a destroy without reason, must reach it as a reset:
    // an end would tell the application that it has seen all the bytes.
    if (error || !this.#ended) this.#to.destroy(error ?? new Error("The other side of the relay was destroyed"));
    this.#onClosed(error);
  }
}
