import type { ByteChannel } from "../byte-channel.ts";
import { Http2Engine } from "./engine.ts";
import { ErrorCode, Http2Error } from "./error.ts";
import type { HeaderList } from "./header-field.ts";
import { type Http2Limit, type Http2Role, resolveHttp2Options } from "./options.ts";
import { recycleOutput } from "./output.ts";
import { type AtTurnEnd, callAtTurnEnd } from "../turn.ts";
import type {
  Http2Goaway,
  Http2PeerSettings,
  Http2Session,
  Http2SessionHandler,
  Http2SessionOptions,
  Http2SessionStats,
  Http2Stream,
} from "./types.ts";

const DEFAULT_LINGER_MS = 1000;

/**
 * Speaks HTTP/2 over a connected channel, in which no byte was read yet. The session owns the channel from here on.
 * Throws `HTTP2_INVALID_OPTION`; the channel was not touched then.
 */
export function createHttp2Session(session: {
  readonly role: Http2Role;
  readonly channel: ByteChannel;
  readonly handler: Http2SessionHandler;
  readonly options?: Http2SessionOptions;
}): Http2Session {
  return new ChannelSession(session.role, session.channel, session.handler, session.options ?? {});
}

/**
 * Binds an engine to a channel. Reads go straight into the engine; what they make it send is flushed once per read, and what comes
 * from calls once per turn of the event loop.
 */
class ChannelSession implements Http2Session, AtTurnEnd {
  readonly role: Http2Role;
  readonly #channel: ByteChannel;
  readonly #handler: Http2SessionHandler;
  readonly #engine: Http2Engine;
  readonly #now: () => number;
  readonly #lingerMs: number;
  readonly #maxOutputBytes: number;
  #wakeScheduled = false;
  /** In a read or a turn, which ends with a flush anyway. */
  #running = false;
  #readingPaused = false;
  /** The number of the header block that was told as incomplete; 0: none. */
  #openHeaderBlock = 0;
  /** The engine is done: the channel is to be ended, then was, then its close is awaited. */
  #ended = false;
  #channelEnded = false;
  #endError: Error | undefined;
  #channelClosed = false;
  #closed = false;
  #lingerTimer: NodeJS.Timeout | undefined;

  constructor(role: Http2Role, channel: ByteChannel, handler: Http2SessionHandler, options: Http2SessionOptions) {
    this.role = role;
    this.#channel = channel;
    this.#handler = handler;
    this.#now = options.now ?? (() => performance.now());
    this.#lingerMs = options.lingerMs ?? DEFAULT_LINGER_MS;
    const resolved = resolveHttp2Options(role, options);
    this.#maxOutputBytes = resolved.maxOutputBytes;
    const events = {
      onStream: (stream: Http2Stream, headers: HeaderList, endStream: boolean) =>
        handler.onStream?.(stream, headers, endStream),
      onSettings: (settings: Http2PeerSettings) => handler.onSettings?.(settings),
      onGoaway: (goaway: Http2Goaway) => handler.onGoaway?.(goaway),
      onStreamClosed: () => handler.onStreamClosed?.(),
      onLimit: (limit: Http2Limit) => handler.onLimit?.(limit),
      onStreamFault: (errorCode: ErrorCode) => handler.onStreamFault?.(errorCode),
      onFailed: (error: Error | undefined) => this.#endChannel(error),
      onFinished: () => this.#endChannel(undefined),
      wake: () => this.#wake(),
      flushNow: () => this.#write(),
      sendNow: (bytes: Buffer) => this.#send(bytes),
    };
    this.#engine = new Http2Engine(role, this, events, resolved, options.resetBudget);
    channel.setHandler({
      onData: (chunk) => this.#onRead(chunk),
      onEnd: () => this.#run(() => this.#engine.receiveEnd(undefined)),
      onDrain: () => this.#run(() => this.#onDrain()),
      onClose: (error) => this.#onChannelClose(error),
    });
    channel.resume();
    this.#wake();
  }

  get stats(): Http2SessionStats {
    return this.#engine.stats;
  }

  get peerSettings(): Http2PeerSettings {
    return this.#engine.peerSettings;
  }

  get canOpenStream(): boolean {
    return this.#engine.canOpenStream;
  }

  get closing(): boolean {
    return this.#engine.closing;
  }

  get closed(): boolean {
    return this.#closed;
  }

  request(headers: HeaderList, options?: { readonly endStream?: boolean }): Http2Stream {
    return this.#engine.request(headers, options?.endStream ?? false);
  }

  ping(onAck: () => void): boolean {
    return this.#engine.ping(onAck);
  }

  shutdown(): void {
    this.#engine.shutdown();
  }

  destroy(error?: Error, errorCode: number = ErrorCode.NO_ERROR): void {
    this.#engine.fail(error, errorCode);
    this.#wake();
  }

  flush(): void {
    if (!this.#running) this.#flush();
  }

  #wake(): void {
    if (this.#wakeScheduled || this.#running) return;
    this.#wakeScheduled = true;
    callAtTurnEnd(this);
  }

  /** Called once for each {@link ChannelSession.#wake}. */
  onTurnEnd(): void {
    this.#wakeScheduled = false;
    this.#run(nothing);
  }

  /** {@link ChannelSession.#run} without a closure: this is the path of every read. */
  #onRead(chunk: Uint8Array): void {
    const nested = this.#running;
    this.#running = true;
    try {
      this.#engine.receive(chunk, this.#now());
      this.#tellHeaderBlock();
      if (!nested) this.#turns();
    } catch (error) {
      this.#onHandlerError(error);
    } finally {
      this.#running = nested;
    }
    if (!nested) this.#deliverClose();
  }

  /** Tells of a block that is incomplete after a read, once each, and of its end. */
  #tellHeaderBlock(): void {
    const { headerBlockOpen, headerBlocksBegun } = this.#engine.stats;
    const open = headerBlockOpen ? headerBlocksBegun : 0;
    if (open === this.#openHeaderBlock) return;
    this.#openHeaderBlock = open;
    this.#handler.onHeaderBlock?.(headerBlockOpen);
  }

  /** Runs `action` and everything it made due. An error thrown by a handler ends the session, not the process. */
  #run(action: () => void): void {
    if (this.#running) {
      action();
      return;
    }
    this.#running = true;
    try {
      action();
      this.#turns();
    } catch (error) {
      this.#onHandlerError(error);
    } finally {
      this.#running = false;
    }
    this.#deliverClose();
  }

  #turns(): void {
    do {
      this.#engine.turn();
      this.#flush();
    } while (this.#engine.hasDeliveries);
  }

  /** The failed handler's siblings still get their close; a second error is dropped for the first. */
  #onHandlerError(error: unknown): void {
    this.#engine.fail(toError(error), ErrorCode.INTERNAL_ERROR);
    // Each attempt delivers at least one stream fewer.
    while (this.#engine.hasDeliveries) {
      try {
        this.#engine.turn();
      } catch {
        continue;
      }
    }
    this.#flush();
  }

  /** Serialises batch after batch while the channel takes them. */
  #flush(): void {
    this.#write();
    while (this.#engine.scheduler.hasWork) {
      this.#engine.scheduler.pump();
      if (this.#engine.output.length === 0) break;
      this.#write();
    }
    if (this.#ended && this.#engine.output.length === 0 && !this.#channelEnded) {
      this.#channelEnded = true;
      this.#channel.end();
    }
  }

  #write(): void {
    const { output, scheduler } = this.#engine;
    if (output.length === 0 || this.#channelClosed) return;
    if (scheduler.blocked) {
      this.#limitReading();
      return;
    }
    const writer = output.take();
    if (writer === undefined) return;
    this.#send(writer.bytes.subarray(0, writer.length));
    recycleOutput(writer);
  }

  #send(bytes: Uint8Array): void {
    const { scheduler, stats } = this.#engine;
    stats.wireBytesSent += bytes.length;
    scheduler.blocked = !this.#channel.write(bytes);
  }

  /** A peer that does not read gets no new answers to its frames: we stop reading, and TCP stops it. */
  #limitReading(): void {
    if (this.#readingPaused || this.#engine.output.length < this.#maxOutputBytes) return;
    this.#readingPaused = true;
    this.#channel.pause();
  }

  #onDrain(): void {
    this.#engine.channelDrained();
    if (!this.#readingPaused) return;
    this.#readingPaused = false;
    this.#channel.resume();
  }

  /** The engine is done: what is serialised goes out, then our direction ends; a peer that lingers is cut. */
  #endChannel(error: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#endError = error;
    if (this.#channelClosed) return;
    if (this.#readingPaused) {
      this.#readingPaused = false;
      this.#channel.resume();
    }
    this.#lingerTimer = setTimeout(() => this.#channel.destroy(), this.#lingerMs);
    this.#lingerTimer.unref();
    this.#wake();
  }

  #onChannelClose(error: Error | undefined): void {
    this.#channelClosed = true;
    clearTimeout(this.#lingerTimer);
    this.#run(() => this.#engine.receiveEnd(error === undefined || this.#ended ? undefined : channelError(error)));
  }

  #deliverClose(): void {
    if (!this.#channelClosed || this.#closed || this.#engine.hasDeliveries) return;
    this.#closed = true;
    this.#handler.onClose(this.#endError);
  }
}

function nothing(): void {}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function channelError(cause: Error): Http2Error {
  return new Http2Error(`The connection broke: ${cause.message}`, { code: "HTTP2_SESSION_CLOSED", cause });
}
