import { ByteQueue } from "./byte-queue.ts";
import { ErrorCode, Http2Error } from "./error.ts";
import { ReceiveWindow, SendWindow } from "./flow-control.ts";
import type { HeaderList } from "./header-field.ts";
import type { Http2Session, Http2Stream, Http2StreamHandler } from "./types.ts";

/** What a stream asks of its engine. */
export interface StreamOwner {
  readonly session: Http2Session;
  sendInformational(stream: EngineStream, headers: HeaderList): void;
  sendResponse(stream: EngineStream, headers: HeaderList, endStream: boolean): void;
  checkTrailers(headers: HeaderList): void;
  /** Takes the bytes: serialises or queues them. */
  sendData(stream: EngineStream, chunk: Uint8Array): void;
  /** `localEnded` became true: ends the direction as soon as nothing is queued. */
  endLocal(stream: EngineStream): void;
  resetByOwner(stream: EngineStream, errorCode: number, error: Error | undefined): void;
  /** The consumer took `bytes` of DATA, or they were dropped. */
  bytesTaken(stream: EngineStream, bytes: number): void;
  bytesHeld(bytes: number): void;
  /** True when `write` should say stop. */
  isSendBufferFull(stream: EngineStream): boolean;
  isSendBufferDrained(stream: EngineStream): boolean;
  /** `deliver` is to be called soon, outside of the caller's stack. */
  schedule(stream: EngineStream): void;
}

/**
 * One stream: what is received and waits for its consumer, what is written and waits for the scheduler, and which of the two
 * directions ended. The engine moves it:
 * - open → `remoteEnded` by END_STREAM; `localEnded` by `end`, then `endSent` when END_STREAM is serialised;
 * - both → detached from the engine; still delivers what it holds, then onEnd and onClose;
 * - RST_STREAM either way or the session's end → `closing`: queues dropped, onClose with the error.
 */
export class EngineStream implements Http2Stream {
  readonly id: number;
  readonly receiveWindow: ReceiveWindow;
  readonly sendWindow: SendWindow;
  headers: HeaderList | undefined;
  /** Client: the request's method decides what a response may carry. */
  method = "";
  headSent = false;
  /** Server: from the start. Client: from the final response head on. */
  acceptsData = false;
  informationalHeads = 0;
  /** DATA bytes that content-length still promises; -1: no promise. */
  contentLeft = -1;
  remoteEnded = false;
  localEnded = false;
  endSent = false;
  pendingTrailers: HeaderList | undefined;
  /** RST_STREAM(NO_ERROR) follows END_STREAM. */
  resetAfterEnd = false;
  /** No longer known to the engine: no frames come or go. */
  detached = false;
  /** The owner of the session was told that it ended. */
  reported = false;
  /** Links of the scheduler and of the engine's delivery list. */
  inRing = false;
  nextInRing: EngineStream | undefined;
  inDelivery = false;
  bytesRead = 0;
  bytesWritten = 0;

  readonly #owner: StreamOwner;
  #handler: Http2StreamHandler | undefined;
  #paused = true;
  #delivering = false;
  #held: ByteQueue | undefined;
  #queue: ByteQueue | undefined;
  #receivedTrailers: HeaderList | undefined;
  #endDelivered = false;
  #needDrain = false;
  #closing = false;
  #closeError: Error | undefined;
  #closeDelivered = false;

  constructor(owner: StreamOwner, id: number, windows: { receive: number; send: number }) {
    this.#owner = owner;
    this.id = id;
    this.receiveWindow = new ReceiveWindow(windows.receive);
    this.sendWindow = new SendWindow(windows.send);
  }

  get session(): Http2Session {
    return this.#owner.session;
  }

  get bufferedBytes(): number {
    return this.#queue?.length ?? 0;
  }

  get closed(): boolean {
    return this.#closing;
  }

  get hasHandler(): boolean {
    return this.#handler !== undefined;
  }

  /** `write` returned false and onDrain is due some time. */
  get awaitsDrain(): boolean {
    return this.#needDrain;
  }

  /** Bytes written and not yet serialised. */
  get queue(): ByteQueue {
    return (this.#queue ??= new ByteQueue());
  }

  setHandler(handler: Http2StreamHandler): void {
    this.#handler = handler;
    // What came before: a response head in the same turn as the request is impossible, but a close is not.
    if (this.#closing) this.#owner.schedule(this);
  }

  sendInformational(headers: HeaderList): void {
    if (!this.#closing) this.#owner.sendInformational(this, headers);
  }

  respond(headers: HeaderList, options?: { readonly endStream?: boolean }): void {
    if (!this.#closing) this.#owner.sendResponse(this, headers, options?.endStream ?? false);
  }

  write(chunk: Uint8Array): boolean {
    if (this.#closing) return false;
    if (!this.headSent || this.localEnded) {
      this.#failOwner(invalidState(`Stream ${this.id}: write ${this.#misplaced}`));
      return false;
    }
    this.bytesWritten += chunk.length;
    if (chunk.length > 0) this.#owner.sendData(this, chunk);
    if (!this.#owner.isSendBufferFull(this)) return true;
    this.#needDrain = true;
    return false;
  }

  end(): void {
    if (this.#closing || this.localEnded) return;
    if (!this.headSent) {
      this.#failOwner(invalidState(`Stream ${this.id}: end ${this.#misplaced}`));
      return;
    }
    this.localEnded = true;
    this.#owner.endLocal(this);
  }

  sendTrailers(headers: HeaderList): void {
    if (this.#closing) return;
    if (!this.headSent || this.localEnded) throw invalidState(`Stream ${this.id}: trailers ${this.#misplaced}`);
    this.#owner.checkTrailers(headers);
    this.pendingTrailers = headers;
    this.localEnded = true;
    this.#owner.endLocal(this);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if ((this.#held?.length ?? 0) > 0 || this.remoteEnded) this.#owner.schedule(this);
  }

  reset(errorCode: number): void {
    if (!this.#closing) this.#owner.resetByOwner(this, errorCode, undefined);
  }

  destroy(error?: Error): void {
    if (!this.#closing) this.#owner.resetByOwner(this, ErrorCode.CANCEL, error);
  }

  get #misplaced(): string {
    return this.localEnded ? "after the end" : "before the response head";
  }

  /** The owner's mistake, or an error thrown by its handler, ends this stream and no other. */
  #failOwner(error: unknown): void {
    if (this.#closeDelivered) throw error;
    const reason = error instanceof Error ? error : new Error(String(error));
    if (!this.#closing) this.#owner.resetByOwner(this, ErrorCode.INTERNAL_ERROR, reason);
  }

  // What the engine calls.

  /** DATA without padding, borrowed. */
  receiveData(source: Buffer, start: number, end: number): void {
    const length = end - start;
    if (this.#closing) {
      this.#owner.bytesTaken(this, length);
      return;
    }
    if (this.#paused || this.#delivering || this.#handler === undefined || (this.#held?.length ?? 0) > 0) {
      (this.#held ??= new ByteQueue()).append(source, start, end);
      this.#owner.bytesHeld(length);
      return;
    }
    this.#delivering = true;
    this.bytesRead += length;
    try {
      this.#handler.onData(source.subarray(start, end));
    } catch (error) {
      this.#failOwner(error);
    }
    this.#delivering = false;
    this.#owner.bytesTaken(this, length);
  }

  receiveInformational(headers: HeaderList): void {
    try {
      this.#handler?.onInformational?.(headers);
    } catch (error) {
      this.#failOwner(error);
    }
  }

  receiveHead(headers: HeaderList, endStream: boolean): void {
    this.headers = headers;
    try {
      this.#handler?.onHeaders?.(headers, endStream);
    } catch (error) {
      this.#failOwner(error);
    }
  }

  receiveEnd(trailers: HeaderList | undefined): void {
    this.remoteEnded = true;
    this.#receivedTrailers = trailers;
    this.deliver();
  }

  /** Drops what waits and closes with `error` in the next delivery. */
  close(error: Error | undefined): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#closeError = error;
    const dropped = this.#held?.clear() ?? 0;
    if (dropped > 0) {
      this.#owner.bytesHeld(-dropped);
      this.#owner.bytesTaken(this, dropped);
    }
    this.#owner.schedule(this);
  }

  /** Calls the handler with everything that is due: held bytes, trailers, end, drain, close. Throws only what onClose throws. */
  deliver(): void {
    if (this.#delivering || this.#handler === undefined) return;
    this.#delivering = true;
    try {
      this.#deliverHeld(this.#handler);
      this.#deliverEnd(this.#handler);
      this.#deliverDrain(this.#handler);
    } catch (error) {
      this.#failOwner(error);
    }
    this.#delivering = false;
    if (this.#endDelivered && this.endSent) this.#closing = true;
    if (!this.#closing || this.#closeDelivered) return;
    this.#closeDelivered = true;
    this.#handler.onClose(this.#closeError);
  }

  #deliverHeld(handler: Http2StreamHandler): void {
    while (!this.#paused && !this.#closing) {
      const piece = this.#held?.shift();
      if (piece === undefined) return;
      const length = piece.end - piece.start;
      this.bytesRead += length;
      this.#owner.bytesHeld(-length);
      try {
        handler.onData(piece.block.subarray(piece.start, piece.end));
      } finally {
        ByteQueue.release(piece);
        this.#owner.bytesTaken(this, length);
      }
    }
  }

  #deliverDrain(handler: Http2StreamHandler): void {
    if (!this.#needDrain || this.#closing || !this.#owner.isSendBufferDrained(this)) return;
    this.#needDrain = false;
    if (!this.localEnded) handler.onDrain();
  }

  #deliverEnd(handler: Http2StreamHandler): void {
    if (!this.remoteEnded || this.#endDelivered || this.#paused || this.#closing) return;
    if ((this.#held?.length ?? 0) > 0) return;
    this.#endDelivered = true;
    const trailers = this.#receivedTrailers;
    this.#receivedTrailers = undefined;
    if (trailers !== undefined) handler.onTrailers?.(trailers);
    if (!this.#closing) handler.onEnd();
  }
}

export function invalidState(message: string): Http2Error {
  return new Http2Error(message, { code: "HTTP2_INVALID_STATE" });
}
