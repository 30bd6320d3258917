// The state machine of one HTTP/2 connection (RFC 9113): bytes in → events, calls → bytes out. No socket, no clock, no promise: time comes
// in with the bytes, and the owner flushes. Faults of the peer end the stream (RST_STREAM) or the connection (GOAWAY); they never throw
// out of `receive`, and what a stream's handler throws ends that stream. Its parts: frame-reader → data-receiver, message-receiver → stream → send-scheduler → output.
//
// A session is open → closing (GOAWAY sent or received: no new streams) → finished (no stream left: the channel is ended), or
// → failed from anywhere (fault, destroy, end of the channel).

import { DataReceiver } from "./data-receiver.ts";
import { DeliveryList } from "./delivery-list.ts";
import { ConnectionFault, ErrorCode, formatErrorCode, Http2Error, streamFault } from "./error.ts";
import {
  CLIENT_PREFACE,
  DEFAULT_WINDOW_SIZE,
  Flag,
  FrameType,
  MAX_STREAM_ID,
  readUint32,
  UNLIMITED,
  writeUint32,
} from "./frame.ts";
import { FrameReader, type FrameSink, Payload } from "./frame-reader.ts";
import type { HeaderList } from "./header-field.ts";
import { checkRequestHead, checkResponseHead, findTrailerProblem } from "./header-rules.ts";
import { HeaderSender } from "./header-sender.ts";
import { LimitGuard } from "./limit-guard.ts";
import { dependsOnItself, MessageReceiver } from "./message-receiver.ts";
import type { Http2Limit, Http2Role, ResolvedHttp2Options } from "./options.ts";
import { Output } from "./output.ts";
import { PingTracker } from "./ping-tracker.ts";
import { threadSendMemory } from "./send-memory.ts";
import { SendScheduler } from "./send-scheduler.ts";
import { SessionStats } from "./session-stats.ts";
import { applySettings, encodeSettings, initialPeerSettings } from "./settings.ts";
import { EngineStream, invalidState, type StreamOwner } from "./stream.ts";
import { StreamTable } from "./stream-table.ts";
import type { Http2Budget, Http2Goaway, Http2PeerSettings, Http2Session } from "./types.ts";

/** SETTINGS, GOAWAY, PING …: none has a reason to be larger. */
const MAX_CONTROL_PAYLOAD = 16 * 1024;
const GOAWAY_DEBUG_BYTES = 256;
const NOTHING: Uint8Array = new Uint8Array(0);

export interface EngineEvents {
  onStream(stream: EngineStream, headers: HeaderList, endStream: boolean): void;
  onSettings(settings: Http2PeerSettings): void;
  onGoaway(goaway: Http2Goaway): void;
  onStreamClosed(): void;
  onLimit(limit: Http2Limit): void;
  onStreamFault(errorCode: ErrorCode): void;
  /** Failed: every stream was closed, and our GOAWAY, if one helps, is in the output. Flush and end the channel. */
  onFailed(error: Error | undefined): void;
  /** Finished: flush and end the channel. */
  onFinished(): void;
  /** Output or deliveries wait: call `turn` and flush soon, outside of the current stack. */
  wake(): void;
  /** The output holds a full batch: flush it now. */
  flushNow(): void;
  /** Hand these bytes to the channel now; nothing is in the output. */
  sendNow(bytes: Buffer): void;
}

export class Http2Engine implements FrameSink, StreamOwner {
  readonly role: Http2Role;
  readonly stats: SessionStats;
  readonly output: Output = new Output();
  readonly scheduler: SendScheduler;
  readonly session: Http2Session;
  peerSettings: Http2PeerSettings;
  /** From GOAWAY, sent or received, or a failure on. */
  closing = false;

  readonly #options: ResolvedHttp2Options;
  readonly #events: EngineEvents;
  readonly #guard: LimitGuard;
  readonly #streams: StreamTable;
  readonly #reader: FrameReader = new FrameReader(this);
  readonly #data: DataReceiver;
  readonly #messages: MessageReceiver;
  readonly #headers: HeaderSender;
  readonly #pings: PingTracker;
  readonly #deliveries: DeliveryList = new DeliveryList();
  /** Their writers were told to wait until the channel drained. */
  readonly #awaitingChannel = new Set<EngineStream>();
  #prefaceLeft: number;
  #settingsUnacknowledged = 1;
  /** Receive window of new streams; until the peer acknowledged our SETTINGS it may count on the default. */
  #streamReceiveWindow: number;
  #lastAcceptedStreamId = 0;
  #shuttingDown = false;
  /** The id in our last GOAWAY: the peer's streams above it are refused. Undefined until that was sent. */
  #goawayLimit: number | undefined;
  #failed = false;
  #finished = false;
  // The frame that is being read.
  #type = 0;
  #flags = 0;
  #streamId = 0;

  constructor(
    role: Http2Role,
    session: Http2Session,
    events: EngineEvents,
    options: ResolvedHttp2Options,
    resetBudget?: Http2Budget,
  ) {
    this.role = role;
    this.session = session;
    this.#events = events;
    this.#options = options;
    this.peerSettings = initialPeerSettings(options.assumedPeerMaxStreams);
    this.#streamReceiveWindow = Math.max(DEFAULT_WINDOW_SIZE, options.initialWindowSize);
    this.#prefaceLeft = role === "server" ? CLIENT_PREFACE.length : 0;
    const { output } = this;
    const stats = (this.stats = new SessionStats(options.assumedPeerMaxStreams));
    const guard = (this.#guard = new LimitGuard(stats, options.budgets, resetBudget, (limit) => events.onLimit(limit)));
    const streams = (this.#streams = new StreamTable(role, stats, guard, options.rememberedResets));
    this.#data = new DataReceiver({ streams, stats, guard, output }, this.#streamEvents);
    this.#messages = new MessageReceiver(role, options, { streams, stats, guard }, this.#streamEvents);
    this.#headers = new HeaderSender(output, options.encoderTableSize);
    this.#pings = new PingTracker(stats);
    this.scheduler = new SendScheduler(
      output,
      stats,
      {
        flushNow: () => events.flushNow(),
        sendNow: (bytes) => events.sendNow(bytes),
        onQueueEmpty: (stream) => this.#finishLocal(stream),
        onProgress: (stream) => this.schedule(stream),
      },
      Math.min(this.peerSettings.maxFrameSize, options.maxDataFrameBytes),
    );
    if (role === "client") output.bytes(CLIENT_PREFACE);
    output.frame(FrameType.SETTINGS, 0, 0, encodeSettings(role, options));
    this.#data.openConnectionWindow(options.connectionWindowSize);
  }

  get failed(): boolean {
    return this.#failed;
  }

  get canOpenStream(): boolean {
    return this.role === "client" && !this.closing && this.#streams.size < this.stats.peerMaxConcurrentStreams;
  }

  // ---- Input

  /** Bytes of the peer, borrowed. `nowMs`: monotonic, for the flood budgets. */
  receive(chunk: Uint8Array, nowMs: number): void {
    if (this.#failed) return;
    this.#guard.now = nowMs;
    this.stats.wireBytesReceived += chunk.length;
    const source = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    try {
      const from = this.#readPreface(source);
      this.#reader.read(source, from, this.#stopped);
    } catch (error) {
      if (!(error instanceof ConnectionFault)) throw error;
      this.fail(error, error.errorCode);
    }
  }

  /** The peer ended the connection; `error`: it broke. */
  receiveEnd(error: Error | undefined): void {
    if (this.#failed) return;
    const clean = error === undefined && this.#streams.size === 0;
    const reason = clean
      ? undefined
      : (error ?? new Http2Error("The peer closed the connection", { code: "HTTP2_SESSION_CLOSED" }));
    this.#abandon(reason);
  }

  readonly #stopped = (): boolean => this.#failed;

  #readPreface(source: Buffer): number {
    if (this.#prefaceLeft === 0) return 0;
    const offset = CLIENT_PREFACE.length - this.#prefaceLeft;
    const length = Math.min(this.#prefaceLeft, source.length);
    if (Buffer.compare(source.subarray(0, length), CLIENT_PREFACE.subarray(offset, offset + length)) !== 0) {
      throw fault("The connection does not begin with the HTTP/2 preface");
    }
    this.#prefaceLeft -= length;
    return length;
  }

  beginFrame(type: number, flags: number, streamId: number, length: number): Payload {
    if (length > this.#options.maxFrameSize) {
      throw sizeFault(`A frame of ${length} bytes is above ${this.#options.maxFrameSize}`);
    }
    if (!this.stats.peerSettingsReceived && type !== FrameType.SETTINGS) throw fault("The first frame is not SETTINGS");
    const { openBlock } = this.#messages;
    // §6.10: nothing may come between.
    if (openBlock !== 0 && (type !== FrameType.CONTINUATION || streamId !== openBlock)) {
      throw fault("A header block was interrupted");
    }
    this.#type = type;
    this.#flags = flags;
    this.#streamId = streamId;
    if (type === FrameType.DATA) {
      this.#data.begin(streamId, flags, length);
      return Payload.STREAMED;
    }
    if (type === FrameType.HEADERS) {
      this.#messages.beginHeaders(length);
      return Payload.WHOLE;
    }
    if (type === FrameType.CONTINUATION) {
      this.#messages.beginContinuation(length);
      return Payload.WHOLE;
    }
    if (type > FrameType.CONTINUATION) {
      // §5.5: unknown types are ignored, at a price.
      this.#guard.spend("ignoredFrames");
      return Payload.STREAMED;
    }
    if (length > MAX_CONTROL_PAYLOAD) {
      this.#guard.hit("controlFrameBytes");
      throw new ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, `A control frame has ${length} bytes`);
    }
    return Payload.WHOLE;
  }

  streamedPiece(source: Buffer, start: number, end: number): void {
    if (this.#type === FrameType.DATA) this.#data.piece(source, start, end);
  }

  streamedEnd(): void {
    if (this.#type === FrameType.DATA) this.#data.end();
  }

  wholeFrame(source: Buffer, start: number, end: number): void {
    switch (this.#type) {
      case FrameType.HEADERS:
        return this.#messages.onHeaders(this.#streamId, this.#flags, source, start, end);
      case FrameType.CONTINUATION:
        return this.#messages.onContinuation(this.#flags, source, start, end);
      case FrameType.PRIORITY:
        return this.#onPriority(source, start, end);
      case FrameType.RST_STREAM:
        return this.#onReset(source, start, end);
      case FrameType.SETTINGS:
        return this.#onSettings(source, start, end);
      case FrameType.PING:
        return this.#onPing(source, start, end);
      case FrameType.GOAWAY:
        return this.#onGoaway(source, start, end);
      case FrameType.WINDOW_UPDATE:
        return this.#onWindowUpdate(source, start, end);
      default:
        // A server must not get one, and a client says ENABLE_PUSH 0 (§8.4).
        throw fault("PUSH_PROMISE is not allowed");
    }
  }

  /** Priorities are ignored (RFC 9113 §5.3.2), but not frames that make no sense (RFC 7540 §5.3.1, which older peers go by). */
  #onPriority(source: Buffer, start: number, end: number): void {
    if (this.#streamId === 0) throw fault("PRIORITY on stream 0");
    this.#guard.spend("ignoredFrames");
    const stream = this.#streams.get(this.#streamId);
    if (end - start !== 5) {
      if (stream !== undefined) this.#resetStream(stream, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY has a wrong size");
      return;
    }
    if (!dependsOnItself(source, start, this.#streamId)) return;
    // A stream that is not open cannot be reset.
    if (stream === undefined) throw fault("PRIORITY depends on itself");
    this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR, "PRIORITY depends on itself");
  }

  #onReset(source: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw sizeFault("RST_STREAM has a wrong size");
    const stream = this.#streams.find("RST_STREAM", this.#streamId);
    if (stream === undefined) {
      this.#guard.spend("ignoredFrames");
      return;
    }
    this.stats.resetsReceived++;
    const errorCode = readUint32(source, start);
    const useful = stream.headSent && stream.bytesRead + stream.bytesWritten > 0;
    this.#detach(stream);
    if (errorCode === ErrorCode.NO_ERROR && stream.remoteEnded) {
      // §8.1: the response is complete, the rest of the request is not wanted.
      stream.localEnded = true;
      stream.endSent = true;
    } else {
      stream.close(
        new Http2Error(`The peer reset stream ${stream.id}: ${formatErrorCode(errorCode)}`, {
          code: "HTTP2_STREAM_RESET",
          errorCode,
          retryable: errorCode === ErrorCode.REFUSED_STREAM,
        }),
      );
    }
    stream.deliver();
    // A stream that was answered and carried data cost its opener as much as us.
    if (this.role === "server" && !useful) this.#guard.spend("resets");
  }

  #onSettings(source: Buffer, start: number, end: number): void {
    if (this.#streamId !== 0) throw fault("SETTINGS on a stream");
    if ((this.#flags & Flag.ACK) !== 0) {
      if (end > start) throw sizeFault("A SETTINGS ack has a payload");
      this.#onSettingsAcknowledged();
      return;
    }
    if ((end - start) % 6 !== 0) throw sizeFault("SETTINGS has a wrong size");
    this.#guard.spend("settings");
    const before = this.peerSettings;
    // An assumption ends with the first SETTINGS, also when it says nothing.
    const base = this.stats.peerSettingsReceived ? before : { ...before, maxConcurrentStreams: UNLIMITED };
    const next = applySettings(base, this.role === "client" ? "server" : "client", source, start, end);
    this.peerSettings = next;
    this.stats.peerSettingsReceived = true;
    this.stats.peerMaxConcurrentStreams = next.maxConcurrentStreams;
    this.#headers.encoder.setPeerMaximum(next.headerTableSize);
    this.scheduler.maxPayload = Math.min(next.maxFrameSize, this.#options.maxDataFrameBytes);
    this.scheduler.maxFramePayload = next.maxFrameSize;
    this.#growSendWindows(next.initialWindowSize - before.initialWindowSize);
    this.output.frame(FrameType.SETTINGS, Flag.ACK, 0, NOTHING);
    this.#events.onSettings(next);
  }

  #growSendWindows(delta: number): void {
    if (delta === 0) return;
    for (const stream of this.#streams.values()) {
      if (!stream.sendWindow.grow(delta)) {
        throw new ConnectionFault(
          ErrorCode.FLOW_CONTROL_ERROR,
          `SETTINGS makes the window of stream ${stream.id} too large`,
        );
      }
      this.scheduler.enqueue(stream);
    }
  }

  #onSettingsAcknowledged(): void {
    if (this.#settingsUnacknowledged === 0) throw fault("A SETTINGS ack nobody asked for");
    this.#settingsUnacknowledged--;
    this.stats.settingsAcknowledged = true;
    this.#messages.decoder.setMaxTableSize(this.#options.headerTableSize);
    const delta = this.#options.initialWindowSize - this.#streamReceiveWindow;
    this.#streamReceiveWindow += delta;
    this.#data.resizeStreamWindows(delta);
  }

  #onPing(source: Buffer, start: number, end: number): void {
    if (this.#streamId !== 0) throw fault("PING on a stream");
    if (end - start !== 8) throw sizeFault("PING has a wrong size");
    if ((this.#flags & Flag.ACK) === 0) {
      this.#guard.spend("pings");
      this.output.frame(FrameType.PING, Flag.ACK, 0, source, start, end);
    } else if (!this.#pings.acknowledge(source, start, end)) {
      // An ack nobody asked for is harmless once, and a flood like any other.
      this.#guard.spend("pings");
    }
  }

  #onGoaway(source: Buffer, start: number, end: number): void {
    if (this.#streamId !== 0) throw fault("GOAWAY on a stream");
    if (end - start < 8) throw sizeFault("GOAWAY has a wrong size");
    this.#guard.spend("settings");
    const lastStreamId = readUint32(source, start) & MAX_STREAM_ID;
    const errorCode = readUint32(source, start + 4);
    this.closing = true;
    if (this.role === "client") this.#closeStreamsAbove(lastStreamId, errorCode);
    const debugData = source.subarray(start + 8, Math.min(end, start + 8 + GOAWAY_DEBUG_BYTES));
    this.#events.onGoaway({ errorCode, lastStreamId, debugData });
  }

  #closeStreamsAbove(lastStreamId: number, errorCode: number): void {
    for (const stream of this.#streams.values()) {
      if (stream.id <= lastStreamId) continue;
      this.#detach(stream);
      const message = `The peer is going away (${formatErrorCode(errorCode)}) and did not process stream ${stream.id}`;
      stream.close(new Http2Error(message, { code: "HTTP2_GOAWAY", errorCode, retryable: true }));
    }
  }

  #onWindowUpdate(source: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw sizeFault("WINDOW_UPDATE has a wrong size");
    this.#guard.spend("windowUpdates");
    const increment = readUint32(source, start) & 0x7fffffff;
    if (this.#streamId === 0) {
      if (increment === 0) throw fault("WINDOW_UPDATE of 0");
      if (this.scheduler.connectionWindow.grow(increment)) return;
      throw new ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "The connection's window would be too large");
    }
    const stream = this.#streams.find("WINDOW_UPDATE", this.#streamId);
    if (stream === undefined) return;
    if (increment === 0) this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
    else if (stream.sendWindow.grow(increment)) this.scheduler.enqueue(stream);
    else this.#resetStream(stream, ErrorCode.FLOW_CONTROL_ERROR, "its window would be too large");
  }

  // ---- Streams: what their receivers found

  get #streamEvents(): ConstructorParameters<typeof MessageReceiver>[3] &
    ConstructorParameters<typeof DataReceiver>[1] {
    return {
      resetStream: (stream, errorCode, reason) => this.#resetStream(stream, errorCode, reason),
      refuse: (id) => this.#sendReset(id, ErrorCode.REFUSED_STREAM),
      isGoingAway: (id) => this.#goawayLimit !== undefined && id > this.#goawayLimit,
      createStream: (id) => this.#createStream(id),
      onRequest: (stream, headers, endStream) => this.#onRequest(stream, headers, endStream),
      endRemote: (stream: EngineStream, trailers?: HeaderList) => this.#endRemote(stream, trailers),
      wake: () => this.#events.wake(),
    };
  }

  #onRequest(stream: EngineStream, headers: HeaderList, endStream: boolean): void {
    this.#lastAcceptedStreamId = stream.id;
    this.stats.lastPeerStreamId = stream.id;
    this.#leaveIfLast(stream.id);
    try {
      this.#events.onStream(stream, headers, endStream);
    } catch (error) {
      // With a handler the stream can be told; without one nobody would ever hear of it.
      if (!stream.hasHandler) throw error;
      this.resetByOwner(stream, ErrorCode.INTERNAL_ERROR, toError(error));
    }
    if (!stream.hasHandler && !stream.closed) this.resetByOwner(stream, ErrorCode.INTERNAL_ERROR, undefined);
    else if (endStream) this.schedule(stream);
  }

  #endRemote(stream: EngineStream, trailers: HeaderList | undefined): void {
    if (stream.detached) return;
    if (stream.contentLeft > 0) {
      this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR, "less DATA than content-length");
      return;
    }
    stream.remoteEnded = true;
    if (stream.endSent) this.#detach(stream);
    stream.receiveEnd(trailers);
  }

  #createStream(id: number): EngineStream {
    const stream = new EngineStream(this, id, {
      receive: this.#streamReceiveWindow,
      send: this.peerSettings.initialWindowSize,
    });
    // A request's body may follow its head; a response's head must come first.
    stream.acceptsData = this.role === "server";
    this.#streams.add(stream);
    return stream;
  }

  /** The protocol is done with the stream; it still delivers what it holds. */
  #detach(stream: EngineStream): void {
    if (stream.detached) return;
    this.#streams.remove(stream);
    this.scheduler.drop(stream);
    // The turn tells the owner and looks whether this was the last.
    this.schedule(stream);
  }

  /** The peer's fault on one stream: RST_STREAM, and the same budget as the peer's own resets (MadeYouReset, CVE-2025-8671). */
  #resetStream(stream: EngineStream, errorCode: ErrorCode, reason: string): void {
    if (stream.detached) return;
    this.#sendReset(stream.id, errorCode);
    this.#detach(stream);
    this.#events.onStreamFault(errorCode);
    stream.close(streamFault(errorCode, `Stream ${stream.id}: ${reason}`));
    stream.deliver();
    this.#guard.spend("resets");
  }

  #sendReset(id: number, errorCode: number): void {
    this.output.numberFrame(FrameType.RST_STREAM, id, errorCode);
    this.stats.resetsSent++;
    this.#streams.rememberReset(id);
    this.#events.wake();
  }

  // ---- Streams: what their owners want

  /** Client: opens a stream. Throws as {@link Http2Session.request} says. */
  request(headers: HeaderList, endStream: boolean): EngineStream {
    if (this.role !== "client") throw invalidState("Only a client opens streams");
    this.#checkCanOpen();
    const extended = this.#options.extendedConnect && this.peerSettings.enableConnectProtocol;
    const facts = checkRequestHead(headers, extended);
    this.#headers.check(headers, facts.problem, this.peerSettings);
    const stream = this.#createStream(this.#streams.nextOwnId);
    this.#streams.nextOwnId += 2;
    stream.method = facts.method;
    stream.headSent = true;
    stream.localEnded = endStream;
    stream.endSent = endStream;
    this.#sendHeaders(stream, headers, endStream);
    this.#leaveIfLast(stream.id);
    return stream;
  }

  /** Ids run out at 2^31-1, and a session that lives that long should have been replaced. */
  #leaveIfLast(streamId: number): void {
    if (streamId >= this.#options.streamIdLimit) this.shutdown();
  }

  #checkCanOpen(): void {
    if (this.closing) throw cannotOpen("HTTP2_SESSION_CLOSING", "is closing");
    const limit = this.stats.peerMaxConcurrentStreams;
    if (this.#streams.size < limit) return;
    throw cannotOpen("HTTP2_STREAM_LIMIT", `has ${limit} open streams, which is the peer's limit`);
  }

  sendInformational(stream: EngineStream, headers: HeaderList): void {
    const facts = checkResponseHead(headers);
    this.#checkResponding(stream);
    const problem = facts.problem ?? (facts.status < 200 ? undefined : ":status must be 1xx here");
    this.#headers.check(headers, problem, this.peerSettings);
    this.#sendHeaders(stream, headers, false);
  }

  sendResponse(stream: EngineStream, headers: HeaderList, endStream: boolean): void {
    const facts = checkResponseHead(headers);
    this.#checkResponding(stream);
    const problem = facts.problem ?? (facts.status >= 200 ? undefined : ":status 1xx is not final");
    this.#headers.check(headers, problem, this.peerSettings);
    stream.headSent = true;
    this.#sendHeaders(stream, headers, endStream);
    if (!endStream) return;
    stream.localEnded = true;
    this.#afterEndSent(stream);
  }

  #checkResponding(stream: EngineStream): void {
    if (this.role !== "server") throw invalidState("Only a server responds");
    if (stream.headSent) throw invalidState(`Stream ${stream.id}: the response head was sent`);
  }

  checkTrailers(headers: HeaderList): void {
    this.#headers.check(headers, findTrailerProblem(headers), this.peerSettings);
  }

  #sendHeaders(stream: EngineStream, headers: HeaderList, endStream: boolean): void {
    this.#headers.send(stream.id, headers, endStream, this.peerSettings);
    this.#events.wake();
  }

  sendData(stream: EngineStream, chunk: Uint8Array): void {
    this.scheduler.write(stream, chunk);
    this.#events.wake();
  }

  endLocal(stream: EngineStream): void {
    if (stream.bufferedBytes === 0) this.#finishLocal(stream);
  }

  /** Nothing is queued any more: END_STREAM, if it is due. */
  #finishLocal(stream: EngineStream): void {
    if (!stream.localEnded || stream.endSent || stream.detached) return;
    const trailers = stream.pendingTrailers;
    stream.pendingTrailers = undefined;
    if (trailers === undefined) this.output.endStream(stream.id);
    else this.#sendHeaders(stream, trailers, true);
    this.#afterEndSent(stream);
  }

  #afterEndSent(stream: EngineStream): void {
    stream.endSent = true;
    if (stream.remoteEnded) this.#detach(stream);
    else if (stream.resetAfterEnd) this.resetByOwner(stream, ErrorCode.NO_ERROR, undefined);
    this.schedule(stream);
  }

  resetByOwner(stream: EngineStream, errorCode: number, error: Error | undefined): void {
    if (errorCode === ErrorCode.NO_ERROR && stream.localEnded && !stream.endSent) {
      stream.resetAfterEnd = true;
      return;
    }
    if (!stream.detached) {
      this.#sendReset(stream.id, errorCode);
      this.#detach(stream);
    }
    stream.close(error);
  }

  bytesHeld(bytes: number): void {
    this.stats.heldBytes += bytes;
  }

  bytesTaken(stream: EngineStream, bytes: number): void {
    if (!this.#failed) this.#data.consumed(stream, bytes);
  }

  isSendBufferFull(stream: EngineStream): boolean {
    // What comes now would have to be copied, twice: better its writer waits until the channel drained.
    if (this.scheduler.blocked) {
      this.#awaitingChannel.add(stream);
      return true;
    }
    const queued = stream.bufferedBytes;
    if (queued > this.#options.maxSendBufferBytes) return true;
    if (queued === 0) return false;
    if (this.stats.queuedBytes > this.#options.maxSessionSendBufferBytes) return true;
    if (threadSendMemory.queuedBytes <= this.#options.maxThreadSendBufferBytes) return false;
    this.#guard.hit("threadSendBuffer");
    return true;
  }

  isSendBufferDrained(stream: EngineStream): boolean {
    if (this.scheduler.blocked) {
      this.#awaitingChannel.add(stream);
      return false;
    }
    const queued = stream.bufferedBytes;
    if (queued === 0) return true;
    if (queued > this.#options.maxSendBufferBytes / 2) return false;
    return this.stats.queuedBytes <= this.#options.maxSessionSendBufferBytes;
  }

  /** The channel takes bytes again. */
  channelDrained(): void {
    this.scheduler.blocked = false;
    for (const stream of this.#awaitingChannel) this.schedule(stream);
    this.#awaitingChannel.clear();
  }

  // ---- Turns and pings

  schedule(stream: EngineStream): void {
    this.#deliveries.add(stream);
    this.#events.wake();
  }

  get hasDeliveries(): boolean {
    return !this.#deliveries.isEmpty;
  }

  /** Makes the deliveries that calls scheduled, and serialises what windows and channel allow. */
  turn(): void {
    this.#deliveries.run(this.#afterDelivery);
    this.scheduler.pump();
    this.#finishIfIdle();
  }

  readonly #afterDelivery = (stream: EngineStream): void => {
    if (!stream.detached || stream.reported) return;
    stream.reported = true;
    if (this.role === "client" && !this.#failed) this.#events.onStreamClosed();
  };

  ping(onAck: () => void): boolean {
    if (this.#failed || this.#pings.count >= this.#options.maxOutstandingPings) return false;
    this.#sendPing(onAck);
    return true;
  }

  #sendPing(onAck: () => void): void {
    this.output.frame(FrameType.PING, 0, 0, this.#pings.add(onAck));
    this.#events.wake();
  }

  // ---- The end

  /** The graceful end of {@link Http2Session.shutdown}. */
  shutdown(): void {
    if (this.#failed || this.#shuttingDown) return;
    this.#shuttingDown = true;
    this.closing = true;
    if (this.role === "client") {
      this.#sendLastGoaway(0);
      return;
    }
    this.#sendGoaway(MAX_STREAM_ID, ErrorCode.NO_ERROR, "");
    // What the client sent before it read this has arrived when the answer does (§6.8).
    this.#sendPing(() => this.#sendLastGoaway(this.#lastAcceptedStreamId));
  }

  /** No stream of the peer above `lastStreamId` is accepted from now on. */
  #sendLastGoaway(lastStreamId: number): void {
    if (this.#goawayLimit !== undefined) return;
    this.#goawayLimit = lastStreamId;
    this.#sendGoaway(lastStreamId, ErrorCode.NO_ERROR, "");
  }

  #sendGoaway(lastStreamId: number, errorCode: number, debug: string): void {
    const payload = Buffer.alloc(8 + debug.length);
    writeUint32(payload, 0, lastStreamId);
    writeUint32(payload, 4, errorCode);
    payload.write(debug, 8, "latin1");
    this.output.frame(FrameType.GOAWAY, 0, 0, payload);
    this.#events.wake();
  }

  #finishIfIdle(): void {
    if (!this.closing || this.#failed || this.#finished || this.#streams.size > 0) return;
    // A server that was told GOAWAY waits for the client to close: it may still ask.
    if (this.role === "server" && this.#goawayLimit === undefined) return;
    this.#sendLastGoaway(0);
    this.#finished = true;
    this.#events.onFinished();
  }

  /** Ends at once: GOAWAY, every stream closed. `error` undefined: the owner wanted it so. */
  fail(error: Error | undefined, errorCode: number): void {
    if (this.#failed) return;
    this.#sendGoaway(this.#lastAcceptedStreamId, errorCode, error instanceof Http2Error ? error.code : "");
    this.#abandon(error);
  }

  #abandon(error: Error | undefined): void {
    this.#failed = true;
    this.closing = true;
    const message =
      error === undefined ? "The HTTP/2 session was closed" : `The HTTP/2 session ended: ${error.message}`;
    const errorCode = error instanceof Http2Error ? error.errorCode : ErrorCode.NO_ERROR;
    for (const stream of this.#streams.values()) {
      this.#detach(stream);
      stream.close(new Http2Error(message, { code: "HTTP2_SESSION_CLOSED", errorCode, cause: error }));
    }
    this.#events.onFailed(error);
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function fault(message: string): ConnectionFault {
  return new ConnectionFault(ErrorCode.PROTOCOL_ERROR, message);
}

function sizeFault(message: string): ConnectionFault {
  return new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, message);
}

function cannotOpen(code: string, reason: string): Http2Error {
  return new Http2Error(`The HTTP/2 session ${reason}`, { code, retryable: true });
}
