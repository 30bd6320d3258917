import type { Clock } from "@hairpin/shared/process";
import type { ByteChannel, ByteChannelHandler } from "@hairpin/wire";

/** How the bytes of a connection begin. */
export type Sniffed = "http1" | "http2" | "bytes";

/** RFC 9113 §3.4. */
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
/** Methods of RFC 9110 and PATCH; anything else is taken for bytes. */
const methods = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH "].map(
  (method) => Buffer.from(method, "latin1"),
);

/** What the first bytes say; undefined: more are needed. */
export function sniffBytes(bytes: Uint8Array): Sniffed | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, preface.length));
  if (head.equals(preface.subarray(0, head.length)))
    return head.length === preface.length ? "http2" : head.length < 4 ? undefined : "http2";
  for (const method of methods) {
    const length = Math.min(head.length, method.length);
    if (head.subarray(0, length).equals(method.subarray(0, length)))
      return length === method.length ? "http1" : undefined;
  }
  return "bytes";
}

/** A look at a connection under way. */
export interface Sniffing {
  /** Undefined when the connection closed, or was given up, before it said anything. */
  readonly result: Promise<{ readonly kind: Sniffed; readonly channel: ByteChannel } | undefined>;
  /** Ends a connection on which nothing has come yet; else does nothing. */
  giveUp(): void;
}

/**
 * Looks at the first bytes of a connection without taking them: the channel that it resolves with delivers them again.
 * After `silenceMs` without a decision the connection is bytes (a server that speaks first).
 */
export function sniff(channel: ByteChannel, clock: Clock, silenceMs: number): Sniffing {
  const { promise, resolve } = Promise.withResolvers<Awaited<Sniffing["result"]>>();
  const replay = new ReplayChannel(channel);
  const settle = (kind: Sniffed | undefined): void => {
    timer.cancel();
    replay.onChange = undefined;
    if (kind) channel.pause();
    resolve(kind && { kind, channel: replay });
  };
  const timer = clock.setTimer(silenceMs, () => settle("bytes"), { background: true });
  replay.onChange = () => {
    if (replay.finished) {
      settle(undefined);
      return;
    }
    const kind = replay.head.length === 0 ? undefined : sniffBytes(replay.head);
    if (kind || replay.ended) settle(kind ?? "bytes");
  };
  channel.resume();
  return {
    result: promise,
    giveUp: () => {
      if (!replay.onChange || replay.head.length > 0) return;
      settle(undefined);
      channel.end();
      // What comes now comes too late.
      replay.setHandler({ onData: () => channel.destroy(), onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
      replay.resume();
    },
  };
}

/** A channel that keeps what it reads until somebody owns it, and delivers it to the owner first. */
class ReplayChannel implements ByteChannel, ByteChannelHandler {
  head: Uint8Array = new Uint8Array(0);
  ended = false;
  onChange: (() => void) | undefined;
  readonly #channel: ByteChannel;
  #handler: ByteChannelHandler | undefined;
  #paused = true;
  #closed: { readonly error: Error | undefined } | undefined;
  #endDelivered = false;

  constructor(channel: ByteChannel) {
    this.#channel = channel;
    channel.setHandler(this);
  }

  get bytesRead(): number {
    return this.#channel.bytesRead - this.head.length;
  }

  get bytesWritten(): number {
    return this.#channel.bytesWritten;
  }

  get bufferedBytes(): number {
    return this.#channel.bufferedBytes;
  }

  /** `onClose` came. */
  get finished(): boolean {
    return this.#closed !== undefined;
  }

  get closed(): boolean {
    return this.#closed !== undefined || this.#channel.closed;
  }

  setHandler(handler: ByteChannelHandler): void {
    this.#handler = handler;
    const closed = this.#closed;
    if (closed) queueMicrotask(() => handler.onClose(closed.error));
  }

  write(chunk: Uint8Array): boolean {
    return this.#channel.write(chunk);
  }

  end(): void {
    this.#channel.end();
  }

  pause(): void {
    this.#paused = true;
    this.#channel.pause();
  }

  resume(): void {
    this.#paused = false;
    queueMicrotask(() => this.#flush());
  }

  destroy(error?: Error): void {
    this.#channel.destroy(error);
  }

  onData(chunk: Uint8Array): void {
    if (this.#handler && !this.#paused && this.head.length === 0) {
      this.#handler.onData(chunk);
      return;
    }
    const joined = new Uint8Array(this.head.length + chunk.length);
    joined.set(this.head);
    joined.set(chunk, this.head.length);
    this.head = joined;
    this.onChange?.();
  }

  onEnd(): void {
    this.ended = true;
    this.onChange?.();
    this.#flush();
  }

  onDrain(): void {
    this.#handler?.onDrain();
  }

  onClose(error: Error | undefined): void {
    this.#closed = { error };
    this.onChange?.();
    this.#handler?.onClose(error);
  }

  /** Delivers what is kept, once there is an owner who wants it. */
  #flush(): void {
    if (this.#paused || !this.#handler || this.#closed) return;
    if (this.head.length > 0) {
      const head = this.head;
      this.head = new Uint8Array(0);
      this.#handler.onData(head);
      if (this.#paused) return;
    }
    if (this.ended && !this.#endDelivered) {
      this.#endDelivered = true;
      this.#handler.onEnd();
      return;
    }
    this.#channel.resume();
  }
}
