/**
 * One bidirectional connection of bytes with explicit back-pressure: a TCP socket, a TLS connection or a tunnel.
 *
 * Ownership: whoever sets the handler owns the channel and must see it to `onClose`. A chunk given to `onData` is
 * borrowed: its memory is reused as soon as the callback returns. A chunk given to `write` is borrowed the same way:
 * the channel has taken the bytes (sent, or copied, or swapped the read buffer they lie in) before `write` returns.
 */
export interface ByteChannel {
  /** Receives the events. Nothing is delivered, and nothing is read, before a handler is set and `resume` was called. */
  setHandler(handler: ByteChannelHandler): void;
  /** Takes the bytes. False: more than the high-water mark is waiting; stop until `onDrain`. */
  write(chunk: Uint8Array): boolean;
  /** Ends our direction (FIN, close_notify, END_STREAM) after what was written. The other direction goes on. */
  end(): void;
  /** Stops `onData`. Bytes not yet delivered stay with the sender (bounded by the window or socket buffer). */
  pause(): void;
  /** Starts, or starts again, `onData`. */
  resume(): void;
  /** Ends both directions at once (RST, RST_STREAM). `onClose` follows with `error`. Harmless when already closed. */
  destroy(error?: Error): void;
  /** Bytes handed to `onData` so far. */
  readonly bytesRead: number;
  /** Bytes taken by `write` so far. */
  readonly bytesWritten: number;
  /** Bytes taken by `write` and not yet handed to the kernel or the peer's window. */
  readonly bufferedBytes: number;
  /** True once `onClose` was, or is about to be, delivered. */
  readonly closed: boolean;
}

/** What a channel tells its owner. No call is made from inside `setHandler`. */
export interface ByteChannelHandler {
  /** Bytes of the peer; borrowed, see {@link ByteChannel}. */
  onData(chunk: Uint8Array): void;
  /** The peer ended its direction properly. */
  onEnd(): void;
  /** `write` may be called again after it returned false. */
  onDrain(): void;
  /** The last event, once: both directions ended (no error), or the connection broke, was reset, or was destroyed. */
  onClose(error: Error | undefined): void;
}
