import { ConnectionFault, ErrorCode } from "./error.ts";
import { DEFAULT_TABLE_SIZE, Flag, MAX_STREAM_ID, readUint32 } from "./frame.ts";
import { HeaderBlock } from "./header-block.ts";
import type { HeaderList } from "./header-field.ts";
import { checkRequestHead, checkResponseHead, findTrailerProblem, type HeadFacts } from "./header-rules.ts";
import { HpackDecoder, type DecodedBlock } from "./hpack-decoder.ts";
import type { LimitGuard } from "./limit-guard.ts";
import type { Http2Role, ResolvedHttp2Options } from "./options.ts";
import type { SessionStats } from "./session-stats.ts";
import type { EngineStream } from "./stream.ts";
import type { StreamTable } from "./stream-table.ts";

/** What the receiver of heads and trailers asks of its engine. */
export interface MessageReceiverEvents {
  /** The peer broke a rule on this stream. */
  resetStream(stream: EngineStream, errorCode: ErrorCode, reason: string): void;
  /** A stream that gets no state: RST_STREAM(REFUSED_STREAM). */
  refuse(streamId: number): void;
  /** True when streams with this id are refused since we are going away. */
  isGoingAway(streamId: number): boolean;
  createStream(id: number): EngineStream;
  /** A good request. */
  onRequest(stream: EngineStream, headers: HeaderList, endStream: boolean): void;
  /** END_STREAM came, with or without trailers. */
  endRemote(stream: EngineStream, trailers: HeaderList | undefined): void;
}

/** Reads HEADERS and CONTINUATION: collects blocks, decodes them, and applies the rules of requests, responses and trailers. */
export class MessageReceiver {
  readonly decoder: HpackDecoder;
  readonly #role: Http2Role;
  readonly #options: ResolvedHttp2Options;
  readonly #streams: StreamTable;
  readonly #stats: SessionStats;
  readonly #guard: LimitGuard;
  readonly #events: MessageReceiverEvents;
  readonly #block: HeaderBlock;
  /** What is wrong with the priority of the block's HEADERS. */
  #priorityProblem: string | undefined;

  constructor(
    role: Http2Role,
    options: ResolvedHttp2Options,
    parts: { streams: StreamTable; stats: SessionStats; guard: LimitGuard },
    events: MessageReceiverEvents,
  ) {
    this.#role = role;
    this.#options = options;
    this.#streams = parts.streams;
    this.#stats = parts.stats;
    this.#guard = parts.guard;
    this.#events = events;
    this.#block = new HeaderBlock(options, parts.stats, parts.guard);
    this.decoder = new HpackDecoder({ maxListBytes: options.maxHeaderListBytes, maxCount: options.maxHeaderCount });
    // Until the peer knows better it may use the protocol's default.
    if (options.headerTableSize > DEFAULT_TABLE_SIZE) this.decoder.setMaxTableSize(options.headerTableSize);
  }

  /** The stream whose header block is being read, or 0. */
  get openBlock(): number {
    return this.#block.streamId;
  }

  /** Asked before the payload of HEADERS is read. */
  beginHeaders(length: number): void {
    this.#block.begin();
    this.#block.checkLength(length);
  }

  /** Asked before the payload of CONTINUATION is read. */
  beginContinuation(length: number): void {
    this.#block.checkLength(length);
  }

  onHeaders(streamId: number, flags: number, source: Buffer, start: number, end: number): void {
    let from = start;
    let to = end;
    if ((flags & Flag.PADDED) !== 0) {
      if (from === to) throw new ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "A padded frame has no pad length");
      to -= source[from++] as number;
    }
    this.#priorityProblem = undefined;
    if ((flags & Flag.PRIORITY) !== 0) {
      from += 5;
      if (from <= to && dependsOnItself(source, from - 5, streamId)) this.#priorityProblem = "it depends on itself";
    }
    if (from > to) throw fault("Padding or priority is longer than its frame");
    this.#checkStreamId(streamId);
    const endStream = (flags & Flag.END_STREAM) !== 0;
    if ((flags & Flag.END_HEADERS) === 0) this.#block.open(streamId, endStream, source, from, to);
    else this.#onBlock(streamId, endStream, source, from, to);
  }

  onContinuation(flags: number, source: Buffer, start: number, end: number): void {
    if (this.#block.streamId === 0) throw fault("CONTINUATION without HEADERS");
    this.#block.append(source, start, end);
    if ((flags & Flag.END_HEADERS) === 0) return;
    const { streamId, endStream } = this.#block;
    const block = this.#block.finish();
    this.#onBlock(streamId, endStream, block, 0, block.length);
  }

  /** RFC 9113 §5.1.1: is HEADERS allowed on this id at all? */
  #checkStreamId(id: number): void {
    if (id === 0) throw fault("HEADERS on stream 0");
    if (this.#role === "server") {
      if (id % 2 === 0) throw fault(`Stream id ${id} is not a client's`);
      if (id > this.#streams.lastPeerId) return;
    }
    if (this.#streams.get(id) === undefined) this.#streams.checkStray("HEADERS", id);
  }

  #onBlock(id: number, endStream: boolean, source: Buffer, start: number, end: number): void {
    this.#block.end();
    // Always decoded, whatever becomes of the stream: the table is the connection's.
    const decoded = this.decoder.decode(source, start, end);
    const stream = this.#streams.get(id);
    if (stream !== undefined) {
      this.#onFollowing(stream, decoded, endStream);
      return;
    }
    if (this.#role === "client" || id <= this.#streams.lastPeerId) return;
    this.#streams.lastPeerId = id;
    if (this.#acceptsStream(id)) this.#openStream(id, decoded, endStream);
    else this.#events.refuse(id);
  }

  #acceptsStream(id: number): boolean {
    if (this.#events.isGoingAway(id)) return false;
    if (this.#streams.size < this.#options.maxConcurrentStreams) return true;
    this.#guard.hit("concurrentStreams");
    // A client that has not seen our SETTINGS yet cannot know.
    if (this.#stats.settingsAcknowledged) this.#guard.spend("resets");
    return false;
  }

  #openStream(id: number, decoded: DecodedBlock, endStream: boolean): void {
    const stream = this.#events.createStream(id);
    const facts = checkRequestHead(decoded.fields, this.#options.extendedConnect);
    if (this.#refuseHead(stream, decoded, facts.problem)) return;
    stream.method = facts.method;
    stream.headers = decoded.fields;
    // RFC 9110 §9.3.6: a CONNECT request has no content, its DATA is the tunnel's.
    if (facts.method !== "CONNECT") stream.contentLeft = facts.contentLength;
    if (endStream && stream.contentLeft > 0) {
      this.#events.resetStream(stream, ErrorCode.PROTOCOL_ERROR, "less DATA than content-length");
      return;
    }
    stream.remoteEnded = endStream;
    this.#events.onRequest(stream, decoded.fields, endStream);
  }

  /** True when the head breaks a limit or a rule; the stream was reset. */
  #refuseHead(stream: EngineStream, decoded: DecodedBlock, problem: string | undefined): boolean {
    if (decoded.exceeded !== undefined) {
      this.#guard.hit(decoded.exceeded);
      this.#events.resetStream(stream, ErrorCode.ENHANCE_YOUR_CALM, "the header list is too large");
      return true;
    }
    const reason = decoded.problem ?? problem ?? this.#priorityProblem;
    if (reason === undefined) return false;
    this.#events.resetStream(stream, ErrorCode.PROTOCOL_ERROR, reason);
    return true;
  }

  /** Response heads on a client; trailers on both. */
  #onFollowing(stream: EngineStream, decoded: DecodedBlock, endStream: boolean): void {
    if (stream.remoteEnded) {
      this.#events.resetStream(stream, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM");
      return;
    }
    if (!stream.acceptsData) {
      this.#onResponseHead(stream, decoded, endStream);
      return;
    }
    const problem = endStream ? findTrailerProblem(decoded.fields) : "trailers must end the stream";
    if (!this.#refuseHead(stream, decoded, problem)) this.#events.endRemote(stream, decoded.fields);
  }

  #onResponseHead(stream: EngineStream, decoded: DecodedBlock, endStream: boolean): void {
    const facts = checkResponseHead(decoded.fields);
    const informational = facts.status < 200;
    const problem = facts.problem ?? (informational && endStream ? "a 1xx head ends the stream" : undefined);
    if (this.#refuseHead(stream, decoded, problem)) return;
    if (informational) {
      this.#onInformational(stream, decoded.fields);
      return;
    }
    stream.acceptsData = true;
    stream.contentLeft = expectedContent(stream.method, facts);
    stream.receiveHead(decoded.fields, endStream);
    if (endStream) this.#events.endRemote(stream, undefined);
  }

  #onInformational(stream: EngineStream, headers: HeaderList): void {
    if (++stream.informationalHeads <= this.#options.maxInformationalHeads) {
      stream.receiveInformational(headers);
      return;
    }
    this.#guard.hit("informationalHeads");
    this.#events.resetStream(stream, ErrorCode.ENHANCE_YOUR_CALM, "too many 1xx heads");
  }
}

/** RFC 7540 §5.3.1: the four bytes of a priority name the stream that they are of. */
export function dependsOnItself(source: Buffer, start: number, streamId: number): boolean {
  return (readUint32(source, start) & MAX_STREAM_ID) === streamId;
}

function fault(message: string): ConnectionFault {
  return new ConnectionFault(ErrorCode.PROTOCOL_ERROR, message);
}

/** DATA bytes that a response must have; -1: any. HEAD and 304 may name a length they do not send (RFC 9110 §8.6). */
function expectedContent(method: string, facts: HeadFacts): number {
  if (method === "CONNECT" && facts.status < 300) return -1;
  if (method === "HEAD" || facts.status === 204 || facts.status === 304) return 0;
  return facts.contentLength;
}
