import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import {
  CLIENT_PREFACE,
  createBlockReader,
  Flag,
  FrameType,
  parseFrames,
  type RawFrame,
  rawFrame,
} from "@hairpin/wire/test-support/frames";

/** Bytes of a frame's header, and where its length and payload are. */
const frameHeaderBytes = 9;
/** Frames kept besides those that are looked at below; DATA is only counted. */
const maxKeptFrames = 4096;

export interface RawHttp2PeerOptions {
  readonly role: "client" | "server";
  /** Acknowledge the other side's SETTINGS. Default true. */
  readonly acknowledgeSettings?: boolean;
  /** Answer PINGs. Default true. */
  readonly answerPings?: boolean;
}

/**
 * One end of an HTTP/2 connection that keeps no rule: frames are bytes that a test writes, what came back is there to be read. It
 * sends nothing by itself but acks of SETTINGS and PING.
 */
export class RawHttp2Peer {
  /** What the other side sent, DATA left out; the newest 4096. */
  readonly frames: RawFrame[] = [];
  /** Error codes of RST_STREAM by stream. */
  readonly resets: Map<number, number> = new Map();
  /** `:status`, or `:method` at a server, by stream. */
  readonly heads: Map<number, string> = new Map();
  /** DATA bytes received by stream. */
  readonly dataBytes: Map<number, number> = new Map();
  /** Resolves when the connection is gone, however it went. */
  readonly whenClosed: Promise<void>;
  readonly #socket: Duplex;
  readonly #options: RawHttp2PeerOptions;
  readonly #readBlock = createBlockReader();
  #input: Buffer = Buffer.alloc(0);
  #prefaceLeft: number;
  #goaway: { readonly errorCode: number; readonly lastStreamId: number } | undefined;
  #closed = false;
  #roundTrips = 0;
  /** By the payload of our PING: what to call when its answer comes. */
  readonly #awaited = new Map<string, () => void>();

  /** Takes over a connection whose TLS, if any, is done. */
  constructor(socket: Duplex, options: RawHttp2PeerOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#prefaceLeft = options.role === "server" ? CLIENT_PREFACE.length : 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.whenClosed = promise;
    const close = (): void => {
      this.#closed = true;
      resolve();
    };
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    // Being cut off is what attackers are for.
    socket.on("error", close);
    socket.on("end", close);
    socket.on("close", close);
  }

  /** The last GOAWAY. */
  get goaway(): { readonly errorCode: number; readonly lastStreamId: number } | undefined {
    return this.#goaway;
  }

  /** The other side ended or broke the connection. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The TLS below was resumed instead of made anew. */
  get resumed(): boolean {
    return this.#socket instanceof TLSSocket && this.#socket.isSessionReused();
  }

  /** Writes bytes as they are; what a closed connection does not take is lost. */
  send(...bytes: readonly Uint8Array[]): void {
    if (!this.#closed && this.#socket.writable) this.#socket.write(Buffer.concat(bytes));
  }

  /**
   * Sends what `frame` makes until the other side cuts us off or `most` were sent, as fast as it reads. Returns how many went out,
   * which is more than were read.
   */
  async flood(frame: (index: number) => Uint8Array, most: number, batch = 250): Promise<number> {
    let sent = 0;
    while (sent < most && !this.#closed && this.#goaway === undefined) {
      const frames: Uint8Array[] = [];
      for (; frames.length < batch && sent < most; sent++) frames.push(frame(sent));
      await this.#write(Buffer.concat(frames));
    }
    return sent;
  }

  /** Resolves when the other side has read all that was sent: it answered a PING that follows. Also when the connection is gone. */
  async settled(): Promise<void> {
    const payload = Buffer.alloc(8);
    payload.writeUInt32BE(++this.#roundTrips, 4);
    const answered = Promise.withResolvers<void>();
    this.#awaited.set(payload.toString("hex"), answered.resolve);
    this.send(rawFrame(FrameType.PING, 0, 0, payload));
    await Promise.race([answered.promise, this.whenClosed]);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Stops reading: TCP pushes back on the other side. */
  pause(): void {
    this.#socket.pause();
  }

  async #write(bytes: Buffer): Promise<void> {
    if (!this.#socket.writable) return;
    const written = Promise.withResolvers<void>();
    this.#socket.write(bytes, () => written.resolve());
    await Promise.race([written.promise, this.whenClosed]);
    // The answer to it is read before the next is written.
    await new Promise((resolve) => setImmediate(resolve));
  }

  #onData(chunk: Buffer): void {
    const skipped = Math.min(this.#prefaceLeft, chunk.length);
    this.#prefaceLeft -= skipped;
    this.#input = Buffer.concat([this.#input, chunk.subarray(skipped)]);
    while (this.#input.length >= frameHeaderBytes) {
      const end = frameHeaderBytes + this.#input.readUIntBE(0, 3);
      if (this.#input.length < end) return;
      for (const frame of parseFrames(this.#input.subarray(0, end))) this.#onFrame(frame);
      this.#input = this.#input.subarray(end);
    }
  }

  #onFrame(frame: RawFrame): void {
    const { type, flags, streamId, payload } = frame;
    if (type === FrameType.DATA) {
      this.dataBytes.set(streamId, (this.dataBytes.get(streamId) ?? 0) + payload.length);
      return;
    }
    this.frames.push(frame);
    if (this.frames.length > maxKeptFrames) this.frames.shift();
    const isAck = (flags & Flag.ACK) !== 0;
    if (type === FrameType.SETTINGS && !isAck && this.#options.acknowledgeSettings !== false)
      this.send(rawFrame(FrameType.SETTINGS, Flag.ACK, 0));
    if (type === FrameType.PING && !isAck && this.#options.answerPings !== false)
      this.send(rawFrame(FrameType.PING, Flag.ACK, 0, payload));
    if (type === FrameType.PING && isAck) this.#awaited.get(payload.toString("hex"))?.();
    if (type === FrameType.RST_STREAM) this.resets.set(streamId, payload.readUInt32BE(0));
    if (type === FrameType.GOAWAY)
      this.#goaway = { lastStreamId: payload.readUInt32BE(0), errorCode: payload.readUInt32BE(4) };
    if (type === FrameType.HEADERS) this.heads.set(streamId, this.#readBlock(payload)[0]?.value ?? "");
  }
}
