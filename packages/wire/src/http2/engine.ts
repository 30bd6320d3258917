// The state machine of one HTTP/2 connection (RFC 9113): bytes in → events, calls → bytes out. No socket, no clock, no promise: time comes
// in with the bytes, and the owner flushes. Faults of the peer end the stream (RST_STREAM) or the connection (GOAWAY); they never throw
// out of `receive`. What a handler throws does.

import { ByteWriter } from "./byte-writer.ts";
import { ConnectionFault, ErrorCode, formatErrorCode, Http2Error, streamFault } from "./error.ts";
import { findFieldProblem } from "./field-syntax.ts";
import { ReceiveWindow } from "./flow-control.ts";
import { createHttp2Budget } from "./flood-budget.ts";
import {
  CLIENT_PREFACE,
  DEFAULT_TABLE_SIZE,
  DEFAULT_WINDOW_SIZE,
  Flag,
  FrameType,
  MAX_STREAM_ID,
  readUint32,
  writeUint32,
} from "./frame.ts";
import { FrameReader, type FrameSink, Payload } from "./frame-reader.ts";
import { HeaderBlock } from "./header-block.ts";
import type { HeaderList } from "./header-field.ts";
import { checkRequestHead, checkResponseHead, findTrailerProblem, type HeadFacts } from "./header-rules.ts";
import { HpackDecoder, type DecodedBlock } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import { ENTRY_OVERHEAD } from "./hpack-table.ts";
import { type FloodKind, type Http2Limit, type Http2Role, type ResolvedHttp2Options } from "./options.ts";
import { Output } from "./output.ts";
import { SendScheduler } from "./send-scheduler.ts";
import { SessionStats } from "./session-stats.ts";
import { applySettings, encodeSettings, initialPeerSettings } from "./settings.ts";
import { EngineStream, invalidState, type StreamOwner } from "./stream.ts";
import type { Http2Budget, Http2Goaway, Http2PeerSettings, Http2Session } from "./types.ts";

/** SETTINGS, GOAWAY, PING …: none has a reason to be larger. */
const MAX_CONTROL_PAYLOAD = 16 * 1024;
/** From here on a session should be replaced: ids end at 2^31-1 (§5.1.1). */
const STREAM_ID_SOFT_LIMIT = 0x40000000;
const GOAWAY_DEBUG_BYTES = 256;
const NOTHING: Uint8Array = new Uint8Array(0);

/** Header blocks are encoded here and copied into frames before anything else runs. */
const blockScratch: ByteWriter = new ByteWriter(4096);

export interface EngineEvents {
  onStream(stream: EngineStream, headers: HeaderList, endStream: boolean): void;
  onSettings(settings: Http2PeerSettings): void;
  onGoaway(goaway: Http2Goaway): void;
  onStreamClosed(): void;
  /** Our GOAWAY for a fault (ours or the peer's) is in the output; every stream was closed. Flush and end the channel. */
  onFailed(error: Error | undefined): void;
  /** A graceful end is complete: flush and end the channel. */
  onFinished(): void;
  /** Output or deliveries wait: call `turn` and flush soon, outside of the current stack. */
  wake(): void;
  /** The output holds a full batch: flush it now. */
  flushNow(): void;
}

export class Http2Engine implements FrameSink, StreamOwner {
  readonly role: Http2Role;
  readonly stats: SessionStats;
  readonly output: Output = new Output();
  readonly scheduler: SendScheduler;
  readonly session: Http2Session;
  peerSettings: Http2PeerSettings;
  /** GOAWAY was sent or received, or the engine failed. */
  closing = false;

  readonly #options: ResolvedHttp2Options;
  readonly #events: EngineEvents;
  readonly #reader: FrameReader = new FrameReader(this);
  readonly #decoder: HpackDecoder;
  readonly #encoder: HpackEncoder;
  readonly #block: HeaderBlock;
  readonly #receiveWindow: ReceiveWindow = new ReceiveWindow(DEFAULT_WINDOW_SIZE);
  readonly #budgets: Readonly<Record<FloodKind, Http2Budget>>;
  readonly #streams = new Map<number, EngineStream>();
  /** Streams we reset: what the peer sent before it knew is ignored. In order of reset. */
  readonly #resetByUs = new Set<number>();
  readonly #pings: { readonly payload: Buffer; readonly onAck: () => void }[] = [];
  #pingNumber = 0;
  readonly #delivery: EngineStream[] = [];
  #deliveryAt = 0;
  #prefaceLeft: number;
  #settingsUnacknowledged = 1;
  /** Receive window of new streams until the peer acknowledged our SETTINGS. */
  #streamReceiveWindow: number;
  #nextStreamId = 1;
  #lastPeerStreamId = 0;
  #lastAcceptedStreamId = 0;
  /** Peer streams above this are refused once GOAWAY was sent. */
  #goawayLimit = MAX_STREAM_ID;
  #goawayFinal = false;
  #shuttingDown = false;
  #failed = false;
  #finished = false;
  #now = 0;
  // The frame that is being read.
  #type = 0;
  #flags = 0;
  #streamId = 0;
  // The DATA frame that is being read.
  #dataStream: EngineStream | undefined;
  #dataLeft = 0;
  #padLengthDue = false;
  #frameHadData = false;

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
    this.stats = new SessionStats(options.assumedPeerMaxStreams);
    this.peerSettings = initialPeerSettings(options.assumedPeerMaxStreams);
    this.#decoder = new HpackDecoder({ maxListBytes: options.maxHeaderListBytes, maxCount: options.maxHeaderCount });
    // Until the peer knows better it may use the protocol's default.
    if (options.headerTableSize > DEFAULT_TABLE_SIZE) this.#decoder.setMaxTableSize(options.headerTableSize);
    this.#encoder = new HpackEncoder(options.encoderTableSize);
    this.#block = new HeaderBlock(options, this.stats);
    this.#streamReceiveWindow = Math.max(DEFAULT_WINDOW_SIZE, options.initialWindowSize);
    this.#prefaceLeft = role === "server" ? CLIENT_PREFACE.length : 0;
    const { budgets } = options;
    this.#budgets = {
      resets: resetBudget ?? createHttp2Budget(budgets.resets),
      pings: createHttp2Budget(budgets.pings),
      settings: createHttp2Budget(budgets.settings),
      emptyData: createHttp2Budget(budgets.emptyData),
      ignoredFrames: createHttp2Budget(budgets.ignoredFrames),
      windowUpdates: createHttp2Budget(budgets.windowUpdates),
    };
    this.scheduler = new SendScheduler(
      this.output,
      this.stats,
      {
        flushNow: () => events.flushNow(),
        onQueueEmpty: (stream) => this.#finishLocal(stream),
        onProgress: (stream) => this.schedule(stream),
      },
      Math.min(this.peerSettings.maxFrameSize, options.maxDataFrameBytes),
    );
    this.#sendOpening();
  }

  get failed(): boolean {
    return this.#failed;
  }

  get canOpenStream(): boolean {
    return (
      this.role === "client" &&
      !this.closing &&
      this.#nextStreamId < STREAM_ID_SOFT_LIMIT &&
      this.#streams.size < this.stats.peerMaxConcurrentStreams
    );
  }

  #sendOpening(): void {
    if (this.role === "client") this.output.bytes(CLIENT_PREFACE);
    this.output.frame(FrameType.SETTINGS, 0, 0, encodeSettings(this.role, this.#options));
    const more = this.#options.connectionWindowSize - DEFAULT_WINDOW_SIZE;
    this.#receiveWindow.resize(more);
    if (more > 0) this.output.numberFrame(FrameType.WINDOW_UPDATE, 0, more);
  }

  // ---- Input

  /** Bytes of the peer, borrowed. `nowMs`: monotonic, for the flood budgets. */
  receive(chunk: Uint8Array, nowMs: number): void {
    if (this.#failed) return;
    this.#now = nowMs;
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
    const clean = error === undefined && (this.#streams.size === 0 || this.#finished);
    const reason = clean
      ? undefined
      : (error ?? new Http2Error("The peer closed the connection", { code: "HTTP2_SESSION_CLOSED" }));
    this.#abandon(reason);
    this.#events.onFailed(reason);
  }

  readonly #stopped = (): boolean => this.#failed;

  #readPreface(source: Buffer): number {
    if (this.#prefaceLeft === 0) return 0;
    const offset = CLIENT_PREFACE.length - this.#prefaceLeft;
    const length = Math.min(this.#prefaceLeft, source.length);
    if (Buffer.compare(source.subarray(0, length), CLIENT_PREFACE.subarray(offset, offset + length)) !== 0) {
      throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "The connection does not begin with the HTTP/2 preface");
    }
    this.#prefaceLeft -= length;
    return length;
  }

  beginFrame(type: number, flags: number, streamId: number, length: number): Payload {
    if (length > this.#options.maxFrameSize) {
      throw new ConnectionFault(
        ErrorCode.FRAME_SIZE_ERROR,
        `A frame of ${length} bytes is above ${this.#options.maxFrameSize}`,
      );
    }
    if (!this.stats.peerSettingsReceived && type !== FrameType.SETTINGS) {
      throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "The first frame is not SETTINGS");
    }
    // §6.10: nothing may come between.
    if (this.#block.streamId !== 0 && (type !== FrameType.CONTINUATION || streamId !== this.#block.streamId)) {
      throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "A header block was interrupted");
    }
    this.#type = type;
    this.#flags = flags;
    this.#streamId = streamId;
    switch (type) {
      case FrameType.DATA:
        this.#beginData(length);
        return Payload.STREAMED;
      case FrameType.HEADERS:
      case FrameType.CONTINUATION:
        this.#block.checkLength(length);
        return Payload.WHOLE;
      case FrameType.PRIORITY:
      case FrameType.RST_STREAM:
      case FrameType.SETTINGS:
      case FrameType.PUSH_PROMISE:
      case FrameType.PING:
      case FrameType.GOAWAY:
      case FrameType.WINDOW_UPDATE:
        if (length > MAX_CONTROL_PAYLOAD) {
          this.#hit("controlFrameBytes");
          throw new ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, `A control frame has ${length} bytes`);
        }
        return Payload.WHOLE;
      default:
        // §5.5: unknown types are ignored, at a price.
        this.#spend("ignoredFrames");
        return Payload.STREAMED;
    }
  }

  wholeFrame(source: Buffer, start: number, end: number): void {
    switch (this.#type) {
      case FrameType.HEADERS:
        return this.#onHeaders(source, start, end);
      case FrameType.CONTINUATION:
        return this.#onContinuation(source, start, end);
      case FrameType.PRIORITY:
        return this.#onPriority(end - start);
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
        throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE is not allowed");
    }
  }

  // ---- DATA

  #beginData(length: number): void {
    if (this.#streamId === 0) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on stream 0");
    const padded = (this.#flags & Flag.PADDED) !== 0;
    if (padded && length === 0)
      throw new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "A padded frame has no pad length");
    if (!this.#receiveWindow.take(length)) {
      throw new ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "The peer exceeded the connection's window");
    }
    this.#padLengthDue = padded;
    this.#dataLeft = length;
    this.#frameHadData = false;
    this.#dataStream = this.#findDataStream(length);
    // Frames that nobody takes open the window again at once; the rest when the consumer took them.
    if (this.#dataStream === undefined) this.#receiveWindow.release(length);
    this.#updateConnectionWindow();
  }

  /** The stream that takes this DATA; undefined: it is dropped. */
  #findDataStream(length: number): EngineStream | undefined {
    const stream = this.#streams.get(this.#streamId);
    if (stream === undefined) {
      this.#checkStray("DATA");
      return undefined;
    }
    if (stream.remoteEnded) {
      this.#resetStream(stream, ErrorCode.STREAM_CLOSED, "DATA after END_STREAM");
      return undefined;
    }
    if (this.role === "client" && !stream.finalHeadReceived) {
      this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR, "DATA before the response head");
      return undefined;
    }
    if (!stream.receiveWindow.take(length)) {
      this.#resetStream(stream, ErrorCode.FLOW_CONTROL_ERROR, "the peer exceeded the stream's window");
      return undefined;
    }
    return stream;
  }

  streamedPiece(source: Buffer, start: number, end: number): void {
    if (this.#type !== FrameType.DATA) return;
    let from = start;
    if (this.#padLengthDue) {
      this.#padLengthDue = false;
      const padLength = source[from++] as number;
      if (padLength >= this.#dataLeft)
        throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "Padding is longer than its frame");
      this.#dataLeft -= padLength + 1;
      const stream = this.#dataStream;
      if (stream !== undefined) this.bytesTaken(stream, padLength + 1);
    }
    const length = Math.min(this.#dataLeft, end - from);
    this.#dataLeft -= length;
    const stream = this.#dataStream;
    if (length === 0 || stream === undefined) return;
    this.#frameHadData = true;
    this.stats.dataBytesReceived += length;
    if (stream.contentLeft >= 0 && !stream.closed) {
      if (length > stream.contentLeft) {
        // The rest of this frame only opens the window again.
        this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR, "more DATA than content-length");
      } else {
        stream.contentLeft -= length;
      }
    }
    stream.receiveData(source, from, from + length);
  }

  streamedEnd(): void {
    if (this.#type !== FrameType.DATA) return;
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    const endStream = (this.#flags & Flag.END_STREAM) !== 0;
    if (!this.#frameHadData && !endStream) this.#spend("emptyData");
    if (stream === undefined) return;
    if (endStream) this.#endRemote(stream, undefined);
    // Bytes that are held count as received too: the connection may owe an update to the others.
    this.#updateConnectionWindow();
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

  bytesHeld(bytes: number): void {
    this.stats.heldBytes += bytes;
  }

  bytesTaken(stream: EngineStream, bytes: number): void {
    if (this.#failed) return;
    this.#receiveWindow.release(bytes);
    this.#updateConnectionWindow();
    if (stream.detached || stream.remoteEnded) return;
    stream.receiveWindow.release(bytes);
    this.#updateStreamWindow(stream);
  }

  #updateStreamWindow(stream: EngineStream): void {
    const due = stream.receiveWindow.takeDueUpdate();
    if (due === 0) return;
    this.output.numberFrame(FrameType.WINDOW_UPDATE, stream.id, due);
    this.#events.wake();
  }

  #updateConnectionWindow(): void {
    const due = this.#receiveWindow.takeDueUpdate();
    if (due === 0) return;
    this.output.numberFrame(FrameType.WINDOW_UPDATE, 0, due);
    this.#events.wake();
  }

  // ---- HEADERS

  #onHeaders(source: Buffer, start: number, end: number): void {
    const id = this.#streamId;
    if (id === 0) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0");
    let from = start;
    let to = end;
    if ((this.#flags & Flag.PADDED) !== 0) {
      if (from === to) throw new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "A padded frame has no pad length");
      to -= source[from++] as number;
    }
    if ((this.#flags & Flag.PRIORITY) !== 0) from += 5;
    if (from > to) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "Padding or priority is longer than its frame");
    this.#checkHeadersStream(id);
    const endStream = (this.#flags & Flag.END_STREAM) !== 0;
    if ((this.#flags & Flag.END_HEADERS) === 0) {
      this.#block.open(id, endStream, source, from, to);
      return;
    }
    this.#onHeaderBlock(id, endStream, source, from, to);
  }

  #onContinuation(source: Buffer, start: number, end: number): void {
    if (this.#block.streamId === 0) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS");
    this.#block.append(source, start, end);
    if ((this.#flags & Flag.END_HEADERS) === 0) return;
    const { streamId, endStream } = this.#block;
    const block = this.#block.finish();
    this.#onHeaderBlock(streamId, endStream, block, 0, block.length);
  }

  /** §5.1.1: is HEADERS allowed on this id at all? */
  #checkHeadersStream(id: number): void {
    const fromClient = id % 2 === 1;
    if (this.role === "server") {
      if (!fromClient) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, `Stream id ${id} is not a client's`);
      if (id > this.#lastPeerStreamId || this.#streams.has(id)) return;
    } else {
      if (!fromClient || id >= this.#nextStreamId) {
        throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, `HEADERS on stream ${id}, which was never opened`);
      }
      if (this.#streams.has(id)) return;
    }
    this.#checkStray("HEADERS");
  }

  #onHeaderBlock(id: number, endStream: boolean, source: Buffer, start: number, end: number): void {
    // Always decoded, whatever becomes of the stream: the table is the connection's.
    const decoded = this.#decoder.decode(source, start, end);
    const stream = this.#streams.get(id);
    if (stream !== undefined) {
      this.#onFollowingHeaders(stream, decoded, endStream);
      return;
    }
    if (this.role === "client" || id <= this.#lastPeerStreamId) return;
    this.#lastPeerStreamId = id;
    this.#openPeerStream(id, decoded, endStream);
  }

  #openPeerStream(id: number, decoded: DecodedBlock, endStream: boolean): void {
    if (id > this.#goawayLimit) {
      this.#sendReset(id, ErrorCode.REFUSED_STREAM);
      return;
    }
    if (this.#streams.size >= this.#options.maxConcurrentStreams) {
      this.#hit("concurrentStreams");
      this.#sendReset(id, ErrorCode.REFUSED_STREAM);
      // A client that has not seen our SETTINGS yet cannot know.
      if (this.stats.settingsAcknowledged) this.#spend("resets");
      return;
    }
    this.stats.streamsOpened++;
    const stream = this.#createStream(id);
    const facts = checkRequestHead(decoded.fields, this.#options.extendedConnect);
    if (this.#refuseHead(stream, decoded, facts.problem)) return;
    stream.method = facts.method;
    stream.headers = decoded.fields;
    // RFC 9110 §9.3.6: a CONNECT request has no content, its DATA is the tunnel's.
    if (facts.method !== "CONNECT") stream.contentLeft = facts.contentLength;
    if (endStream && stream.contentLeft > 0) {
      this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR, "less DATA than content-length");
      return;
    }
    stream.remoteEnded = endStream;
    this.#lastAcceptedStreamId = id;
    this.stats.lastPeerStreamId = id;
    if (id >= STREAM_ID_SOFT_LIMIT) this.shutdown();
    this.#events.onStream(stream, decoded.fields, endStream);
    if (!stream.hasHandler && !stream.closed) {
      this.resetByOwner(stream, ErrorCode.INTERNAL_ERROR, undefined);
    } else if (endStream) {
      this.schedule(stream);
    }
  }

  /** True when the head breaks a limit or a rule; the stream was reset. */
  #refuseHead(stream: EngineStream, decoded: DecodedBlock, problem: string | undefined): boolean {
    if (decoded.exceeded !== undefined) {
      this.#hit(decoded.exceeded);
      this.#resetStream(stream, ErrorCode.ENHANCE_YOUR_CALM, "the header list is too large");
      return true;
    }
    const fault = decoded.problem ?? problem;
    if (fault === undefined) return false;
    this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR, fault);
    return true;
  }

  /** Response heads on a client; trailers on both. */
  #onFollowingHeaders(stream: EngineStream, decoded: DecodedBlock, endStream: boolean): void {
    if (stream.remoteEnded) {
      this.#resetStream(stream, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM");
      return;
    }
    if (this.role === "client" && !stream.finalHeadReceived) {
      this.#onResponseHead(stream, decoded, endStream);
      return;
    }
    const problem = endStream ? findTrailerProblem(decoded.fields) : "trailers must end the stream";
    if (!this.#refuseHead(stream, decoded, problem)) this.#endRemote(stream, decoded.fields);
  }

  #onResponseHead(stream: EngineStream, decoded: DecodedBlock, endStream: boolean): void {
    const facts = checkResponseHead(decoded.fields);
    const informational = facts.status < 200;
    const problem = facts.problem ?? (informational && endStream ? "a 1xx head ends the stream" : undefined);
    if (this.#refuseHead(stream, decoded, problem)) return;
    if (informational) {
      if (++stream.informationalHeads > this.#options.maxInformationalHeads) {
        this.#hit("informationalHeads");
        this.#resetStream(stream, ErrorCode.ENHANCE_YOUR_CALM, "too many 1xx heads");
        return;
      }
      stream.receiveInformational(decoded.fields);
      return;
    }
    stream.finalHeadReceived = true;
    stream.contentLeft = expectedContent(stream.method, facts);
    stream.receiveHead(decoded.fields, endStream);
    if (endStream) this.#endRemote(stream, undefined);
  }

  // ---- The small frames

  #onPriority(length: number): void {
    if (this.#streamId === 0) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0");
    this.#spend("ignoredFrames");
    if (length === 5) return;
    const stream = this.#streams.get(this.#streamId);
    if (stream !== undefined) this.#resetStream(stream, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY has a wrong size");
  }

  #onReset(source: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM has a wrong size");
    const stream = this.#findStream("RST_STREAM");
    if (stream === undefined) {
      this.#spend("ignoredFrames");
      return;
    }
    this.stats.resetsReceived++;
    const errorCode = readUint32(source, start);
    const useful = stream.headSent && stream.bytesRead + stream.bytesWritten > 0;
    this.#detach(stream);
    this.scheduler.drop(stream);
    if (errorCode === ErrorCode.NO_ERROR && stream.remoteEnded) {
      // §8.1: the response is complete, the rest of the request is not wanted.
      stream.localEnded = true;
      stream.endSent = true;
      this.schedule(stream);
    } else {
      stream.close(
        new Http2Error(`The peer reset stream ${stream.id}: ${formatErrorCode(errorCode)}`, {
          code: "HTTP2_STREAM_RESET",
          errorCode,
          retryable: errorCode === ErrorCode.REFUSED_STREAM,
        }),
      );
    }
    if (this.role === "server" && !useful) this.#spend("resets");
    stream.deliver();
  }

  #onSettings(source: Buffer, start: number, end: number): void {
    if (this.#streamId !== 0) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream");
    const length = end - start;
    if ((this.#flags & Flag.ACK) !== 0) {
      if (length !== 0) throw new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "A SETTINGS ack has a payload");
      this.#onSettingsAcknowledged();
      return;
    }
    if (length % 6 !== 0) throw new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS has a wrong size");
    this.#spend("settings");
    const before = this.peerSettings;
    const peerRole = this.role === "client" ? "server" : "client";
    const first = !this.stats.peerSettingsReceived;
    // An assumption ends with the first SETTINGS, also when it says nothing.
    const base = first ? { ...before, maxConcurrentStreams: 0xffffffff } : before;
    const next = applySettings(base, peerRole, source, start, end);
    this.peerSettings = next;
    this.stats.peerSettingsReceived = true;
    this.stats.peerMaxConcurrentStreams = next.maxConcurrentStreams;
    this.#encoder.setPeerMaximum(next.headerTableSize);
    this.scheduler.maxPayload = Math.min(next.maxFrameSize, this.#options.maxDataFrameBytes);
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
    if (this.#settingsUnacknowledged === 0)
      throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "A SETTINGS ack nobody asked for");
    this.#settingsUnacknowledged--;
    this.stats.settingsAcknowledged = true;
    this.#decoder.setMaxTableSize(this.#options.headerTableSize);
    const delta = this.#options.initialWindowSize - this.#streamReceiveWindow;
    this.#streamReceiveWindow += delta;
    if (delta === 0) return;
    for (const stream of this.#streams.values()) {
      stream.receiveWindow.resize(delta);
      // A smaller window may make an update due that nothing else would send: the peer may be waiting for it.
      this.#updateStreamWindow(stream);
    }
  }

  #onPing(source: Buffer, start: number, end: number): void {
    if (this.#streamId !== 0) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream");
    if (end - start !== 8) throw new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING has a wrong size");
    if ((this.#flags & Flag.ACK) === 0) {
      this.#spend("pings");
      this.output.frame(FrameType.PING, Flag.ACK, 0, source, start, end);
      return;
    }
    const at = this.#pings.findIndex(({ payload }) => source.compare(payload, 0, 8, start, end) === 0);
    const ping = at < 0 ? undefined : this.#pings.splice(at, 1)[0];
    this.stats.unansweredPings = this.#pings.length;
    // An ack nobody asked for is harmless once, and a flood like any other.
    if (ping === undefined) this.#spend("pings");
    else ping.onAck();
  }

  #onGoaway(source: Buffer, start: number, end: number): void {
    if (this.#streamId !== 0) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream");
    if (end - start < 8) throw new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY has a wrong size");
    this.#spend("settings");
    const lastStreamId = readUint32(source, start) & MAX_STREAM_ID;
    const errorCode = readUint32(source, start + 4);
    this.closing = true;
    if (this.role === "client") this.#refuseStreamsAbove(lastStreamId, errorCode);
    const debugData = source.subarray(start + 8, Math.min(end, start + 8 + GOAWAY_DEBUG_BYTES));
    this.#events.onGoaway({ errorCode, lastStreamId, debugData });
    this.#events.wake();
  }

  #refuseStreamsAbove(lastStreamId: number, errorCode: number): void {
    for (const stream of this.#streams.values()) {
      if (stream.id <= lastStreamId) continue;
      this.#detach(stream);
      this.scheduler.drop(stream);
      stream.close(
        new Http2Error(
          `The peer is going away (${formatErrorCode(errorCode)}) and did not process stream ${stream.id}`,
          {
            code: "HTTP2_GOAWAY",
            errorCode,
            retryable: true,
          },
        ),
      );
    }
  }

  #onWindowUpdate(source: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has a wrong size");
    this.#spend("windowUpdates");
    const increment = readUint32(source, start) & 0x7fffffff;
    if (this.#streamId === 0) {
      if (increment === 0) throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
      if (this.scheduler.connectionWindow.grow(increment)) return;
      throw new ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "The connection's window would be too large");
    }
    const stream = this.#findStream("WINDOW_UPDATE");
    if (stream === undefined) return;
    if (increment === 0) this.#resetStream(stream, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
    else if (stream.sendWindow.grow(increment)) this.scheduler.enqueue(stream);
    else this.#resetStream(stream, ErrorCode.FLOW_CONTROL_ERROR, "its window would be too large");
  }

  /** For frames that may come late for a closed stream, but never for one that was not opened (§5.1). */
  #findStream(frame: string): EngineStream | undefined {
    const stream = this.#streams.get(this.#streamId);
    if (stream === undefined) this.#checkNotIdle(frame);
    return stream;
  }

  #checkNotIdle(frame: string): void {
    const id = this.#streamId;
    const opened =
      this.role === "server" ? id % 2 === 1 && id <= this.#lastPeerStreamId : id % 2 === 1 && id < this.#nextStreamId;
    if (id === 0 || !opened)
      throw new ConnectionFault(ErrorCode.PROTOCOL_ERROR, `${frame} on stream ${id}, which is idle`);
  }

  /** DATA or HEADERS for a stream that is gone: forgiven when we reset it, since the peer could not know. */
  #checkStray(frame: string): void {
    this.#checkNotIdle(frame);
    if (!this.#resetByUs.has(this.#streamId)) {
      throw new ConnectionFault(ErrorCode.STREAM_CLOSED, `${frame} on stream ${this.#streamId}, which is closed`);
    }
    this.#spend("ignoredFrames");
  }

  #spend(kind: FloodKind): void {
    const useful = this.stats.dataBytesReceived + this.stats.dataBytesSent;
    if (this.#budgets[kind].spend(this.#now, useful)) return;
    this.#hit(kind);
    throw new ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, `Too many frames that cost and do not serve: ${kind}`);
  }

  #hit(limit: Http2Limit): void {
    this.stats.limitHits[limit]++;
  }

  // ---- Streams

  #createStream(id: number): EngineStream {
    const stream = new EngineStream(this, id, {
      receive: this.#streamReceiveWindow,
      send: this.peerSettings.initialWindowSize,
    });
    this.#streams.set(id, stream);
    this.stats.openStreams = this.#streams.size;
    return stream;
  }

  #detach(stream: EngineStream): void {
    if (stream.detached) return;
    stream.detached = true;
    this.#streams.delete(stream.id);
    this.stats.openStreams = this.#streams.size;
    // The turn tells the owner and looks whether this was the last.
    this.schedule(stream);
  }

  /** The peer's fault on one stream: RST_STREAM, and the same budget as the peer's own resets (MadeYouReset). */
  #resetStream(stream: EngineStream, errorCode: ErrorCode, reason: string): void {
    if (stream.detached) return;
    this.#sendReset(stream.id, errorCode);
    this.#detach(stream);
    this.scheduler.drop(stream);
    stream.close(streamFault(errorCode, `Stream ${stream.id}: ${reason}`));
    stream.deliver();
    this.#spend("resets");
  }

  #sendReset(id: number, errorCode: number): void {
    this.output.numberFrame(FrameType.RST_STREAM, id, errorCode);
    this.stats.resetsSent++;
    this.#resetByUs.add(id);
    if (this.#resetByUs.size > this.#options.rememberedResets) {
      for (const oldest of this.#resetByUs) {
        this.#resetByUs.delete(oldest);
        break;
      }
    }
    this.#events.wake();
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
    this.scheduler.drop(stream);
    stream.close(error);
  }

  /** Client: opens a stream with a validated head. */
  request(headers: HeaderList, endStream: boolean): EngineStream {
    if (this.role !== "client") throw invalidState("Only a client opens streams");
    this.#checkCanOpen();
    const extended = this.#options.extendedConnect && this.peerSettings.enableConnectProtocol;
    const facts = checkRequestHead(headers, extended);
    this.#checkOutgoing(headers, facts.problem);
    const stream = this.#createStream(this.#nextStreamId);
    this.#nextStreamId += 2;
    this.stats.streamsOpened++;
    stream.method = facts.method;
    stream.headSent = true;
    this.#sendHeaderBlock(stream.id, headers, endStream);
    if (endStream) {
      stream.localEnded = true;
      stream.endSent = true;
    }
    return stream;
  }

  #checkCanOpen(): void {
    if (this.closing) {
      throw new Http2Error("The HTTP/2 session is closing", { code: "HTTP2_SESSION_CLOSING", retryable: true });
    }
    if (this.#nextStreamId >= STREAM_ID_SOFT_LIMIT) {
      throw new Http2Error("The HTTP/2 session has used its stream ids", {
        code: "HTTP2_STREAM_IDS_EXHAUSTED",
        retryable: true,
      });
    }
    const limit = this.stats.peerMaxConcurrentStreams;
    if (this.#streams.size < limit) return;
    throw new Http2Error(`The HTTP/2 session has ${limit} open streams, which is the peer's limit`, {
      code: "HTTP2_STREAM_LIMIT",
      retryable: true,
    });
  }

  sendInformational(stream: EngineStream, headers: HeaderList): void {
    const facts = checkResponseHead(headers);
    this.#checkResponding(stream);
    this.#checkOutgoing(headers, facts.problem ?? (facts.status < 200 ? undefined : ":status must be 1xx here"));
    this.#sendHeaderBlock(stream.id, headers, false);
  }

  sendResponse(stream: EngineStream, headers: HeaderList, endStream: boolean): void {
    const facts = checkResponseHead(headers);
    this.#checkResponding(stream);
    this.#checkOutgoing(headers, facts.problem ?? (facts.status >= 200 ? undefined : ":status 1xx is not final"));
    stream.headSent = true;
    this.#sendHeaderBlock(stream.id, headers, endStream);
    if (!endStream) return;
    stream.localEnded = true;
    this.#afterEndSent(stream);
  }

  #checkResponding(stream: EngineStream): void {
    if (this.role !== "server") throw invalidState("Only a server responds");
    if (stream.headSent) throw invalidState(`Stream ${stream.id}: the response head was sent`);
  }

  checkTrailers(headers: HeaderList): void {
    this.#checkOutgoing(headers, findTrailerProblem(headers));
  }

  /** We never send what we would refuse. */
  #checkOutgoing(headers: HeaderList, problem: string | undefined): void {
    let size = 0;
    let fault = problem;
    for (const { name, value } of headers) {
      size += name.length + value.length + ENTRY_OVERHEAD;
      fault ??= findFieldProblem(name, value);
    }
    const limit = this.peerSettings.maxHeaderListSize;
    if (size > limit) fault ??= `the list has ${size} bytes and the peer takes ${limit}`;
    if (fault !== undefined) {
      throw new Http2Error(`Headers cannot be sent: ${fault}`, { code: "HTTP2_INVALID_HEADERS" });
    }
  }

  #sendHeaderBlock(id: number, headers: HeaderList, endStream: boolean): void {
    blockScratch.length = 0;
    this.#encoder.encode(headers, blockScratch);
    const { bytes, length } = blockScratch;
    const most = this.peerSettings.maxFrameSize;
    let from = 0;
    do {
      const to = Math.min(length, from + most);
      const flags = (to === length ? Flag.END_HEADERS : 0) | (from === 0 && endStream ? Flag.END_STREAM : 0);
      this.output.frame(from === 0 ? FrameType.HEADERS : FrameType.CONTINUATION, flags, id, bytes, from, to);
      from = to;
    } while (from < length);
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
    if (trailers === undefined) this.output.endStream(stream.id);
    else this.#sendHeaderBlock(stream.id, trailers, true);
    stream.pendingTrailers = undefined;
    this.#afterEndSent(stream);
  }

  #afterEndSent(stream: EngineStream): void {
    stream.endSent = true;
    if (stream.remoteEnded) this.#detach(stream);
    else if (stream.resetAfterEnd) this.resetByOwner(stream, ErrorCode.NO_ERROR, undefined);
    this.schedule(stream);
  }

  isSendBufferFull(stream: EngineStream): boolean {
    const queued = stream.bufferedBytes;
    if (queued > this.#options.maxSendBufferBytes) return true;
    return queued > 0 && this.stats.queuedBytes > this.#options.maxSessionSendBufferBytes;
  }

  isSendBufferDrained(stream: EngineStream): boolean {
    const queued = stream.bufferedBytes;
    if (queued === 0) return true;
    return (
      queued <= this.#options.maxSendBufferBytes / 2 &&
      this.stats.queuedBytes <= this.#options.maxSessionSendBufferBytes
    );
  }

  // ---- Turns, pings, the end

  schedule(stream: EngineStream): void {
    if (!stream.inDelivery) {
      stream.inDelivery = true;
      this.#delivery.push(stream);
    }
    this.#events.wake();
  }

  /** Makes the deliveries that calls scheduled, and serialises what windows and channel allow. */
  turn(): void {
    // A handler that throws leaves the rest of the list for the next turn.
    while (this.#deliveryAt < this.#delivery.length) {
      const stream = this.#delivery[this.#deliveryAt++] as EngineStream;
      stream.inDelivery = false;
      stream.deliver();
      if (!stream.detached || stream.reported) continue;
      stream.reported = true;
      if (this.role === "client" && !this.#failed) this.#events.onStreamClosed();
    }
    this.#delivery.length = 0;
    this.#deliveryAt = 0;
    this.scheduler.pump();
    this.#finishIfIdle();
  }

  get hasDeliveries(): boolean {
    return this.#deliveryAt < this.#delivery.length;
  }

  #finishIfIdle(): void {
    if (!this.closing || this.#failed || this.#finished || this.#streams.size > 0) return;
    // A server that was told GOAWAY waits for the client to close: it may still ask.
    if (this.role === "server" && !this.#goawayFinal) return;
    if (!this.#goawayFinal) this.#sendGoaway(0, ErrorCode.NO_ERROR, "");
    this.#finished = true;
    this.#events.onFinished();
  }

  ping(onAck: () => void): boolean {
    if (this.#failed || this.#pings.length >= this.#options.maxOutstandingPings) return false;
    this.#sendPing(onAck);
    return true;
  }

  #sendPing(onAck: () => void): void {
    const payload = Buffer.alloc(8);
    writeUint32(payload, 4, ++this.#pingNumber);
    this.#pings.push({ payload, onAck });
    this.stats.unansweredPings = this.#pings.length;
    this.output.frame(FrameType.PING, 0, 0, payload);
    this.#events.wake();
  }

  /** The graceful end of {@link Http2Session.shutdown}. */
  shutdown(): void {
    if (this.#failed || this.#goawayFinal || this.#shuttingDown) return;
    this.#shuttingDown = true;
    this.closing = true;
    if (this.role === "client") {
      this.#sendGoaway(0, ErrorCode.NO_ERROR, "");
      return;
    }
    this.#sendGoawayFrame(MAX_STREAM_ID, ErrorCode.NO_ERROR, "");
    // What the client sent before it read this has arrived when the answer does.
    this.#sendPing(() => this.#sendGoaway(this.#lastAcceptedStreamId, ErrorCode.NO_ERROR, ""));
  }

  /** The last GOAWAY: no stream above `lastStreamId` is accepted any more. */
  #sendGoaway(lastStreamId: number, errorCode: number, debug: string): void {
    if (this.#goawayFinal) return;
    this.#goawayFinal = true;
    this.#goawayLimit = lastStreamId;
    this.closing = true;
    this.#sendGoawayFrame(lastStreamId, errorCode, debug);
  }

  #sendGoawayFrame(lastStreamId: number, errorCode: number, debug: string): void {
    const text = Buffer.from(debug, "latin1");
    const payload = Buffer.alloc(8 + text.length);
    writeUint32(payload, 0, lastStreamId);
    writeUint32(payload, 4, errorCode);
    payload.set(text, 8);
    this.output.frame(FrameType.GOAWAY, 0, 0, payload);
    this.#events.wake();
  }

  /** Ends at once: GOAWAY, every stream closed. `error` undefined: the owner wanted it so. */
  fail(error: Error | undefined, errorCode: number): void {
    if (this.#failed) return;
    const debug = error instanceof Http2Error ? error.code : "";
    this.#sendGoawayFrame(this.#lastAcceptedStreamId, errorCode, debug);
    this.#abandon(error);
    this.#events.onFailed(error);
  }

  #abandon(error: Error | undefined): void {
    this.#failed = true;
    this.closing = true;
    const message =
      error === undefined ? "The HTTP/2 session was closed" : `The HTTP/2 session ended: ${error.message}`;
    const errorCode = error instanceof Http2Error ? error.errorCode : ErrorCode.NO_ERROR;
    for (const stream of this.#streams.values()) {
      this.#detach(stream);
      this.scheduler.drop(stream);
      stream.close(new Http2Error(message, { code: "HTTP2_SESSION_CLOSED", errorCode, cause: error }));
    }
  }
}

/** DATA bytes that a response must have; -1: any. */
function expectedContent(method: string, facts: HeadFacts): number {
  if (method === "CONNECT" && facts.status < 300) return -1;
  if (method === "HEAD" || facts.status === 204 || facts.status === 304) return 0;
  return facts.contentLength;
}
