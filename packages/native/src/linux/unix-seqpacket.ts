/**
 * Unix sockets of type SOCK_SEQPACKET that pass descriptors (SCM_RIGHTS). Node cannot adopt them, so they are read here:
 * recvmsg when the event loop says that there is something. Nothing is read ahead: back-pressure is the caller's pace.
 */
import { chmodSync, closeSync, lstatSync, unlinkSync } from "node:fs";
import { addressOf, allocate } from "../memory.ts";
import {
  AF_UNIX,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  SCM_RIGHTS,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_SEQPACKET,
  SOL_SOCKET,
} from "./constants.ts";
import { check, hasCode } from "./errno.ts";
import { libc } from "./libc.ts";
import { ReadableWait } from "./readable.ts";
import { encodeUnixAddress } from "./socket-address.ts";
import type { PeerCredentials } from "./socket-options.ts";
import { peerCredentials } from "./socket-options.ts";

export interface SeqpacketLimits {
  /** A longer message is an error. Default 1024. */
  readonly maxMessageBytes?: number;
  /** More descriptors in one message are an error. Default 1. */
  readonly maxDescriptors?: number;
}

export interface SeqpacketMessage {
  readonly bytes: Uint8Array;
  /** Owned by the receiver, close-on-exec. */
  readonly fds: readonly number[];
}

/** One connection. Not for several readers at a time. */
export class SeqpacketConnection {
  readonly #fd: number;
  readonly #maxMessageBytes: number;
  readonly #maxDescriptors: number;
  readonly #wait = new ReadableWait();
  #closed = false;

  /** Takes over a connected, non-blocking descriptor. See {@link connectSeqpacket}. */
  constructor(fd: number, limits: SeqpacketLimits = {}) {
    this.#fd = fd;
    this.#maxMessageBytes = limits.maxMessageBytes ?? 1024;
    this.#maxDescriptors = limits.maxDescriptors ?? 1;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The process at the other end. */
  get peer(): PeerCredentials {
    return peerCredentials(this.#openFd());
  }

  /**
   * Sends one message at once. The descriptors stay the caller's and may be closed afterwards. Throws `EPIPE` when the
   * peer is gone, `EAGAIN` when it does not read. An empty message is refused: it could not be told from the end.
   */
  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    if (bytes.length === 0) throw codedError("ERR_SEQPACKET_EMPTY", "An empty message cannot be sent");
    const data = allocate(bytes.length);
    data.set(bytes);
    const control = encodeDescriptors(fds);
    const header = messageHeader(data, control);
    check(libc.sendmsg(this.#openFd(), header.bytes, MSG_NOSIGNAL), "sendmsg");
  }

  /**
   * The next message; undefined once either side closed. A message or its descriptors that do not fit the limits reject
   * (`ERR_SEQPACKET_TRUNCATED`), and nothing of it is kept open; the connection is then out of step and should be closed.
   */
  async receive(): Promise<SeqpacketMessage | undefined> {
    if (this.#wait.pending) throw codedError("ERR_SEQPACKET_BUSY", "Another receive is waiting");
    while (!this.#closed) {
      try {
        return this.#read();
      } catch (error) {
        if (hasCode(error, "ECONNRESET")) return undefined;
        if (!hasCode(error, "EAGAIN", "EINTR")) throw error;
      }
      await this.#wait.until(this.#fd);
    }
    return undefined;
  }

  /** Ends both directions; a waiting `receive` gets undefined. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wait.cancel();
    closeSync(this.#fd);
  }

  #read(): SeqpacketMessage | undefined {
    const data = allocate(this.#maxMessageBytes);
    // One more than allowed: the kernel would otherwise only drop the surplus and set a flag.
    const control = allocate(controlLength(this.#maxDescriptors + 1));
    const header = messageHeader(data, control);
    const length = check(libc.recvmsg(this.#fd, header.bytes, MSG_CMSG_CLOEXEC), "recvmsg");
    const { controlBytes, flags } = header.result();
    const fds = decodeDescriptors(control.subarray(0, controlBytes));
    if ((flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0 || fds.length > this.#maxDescriptors) {
      for (const fd of fds) closeSync(fd);
      const limits = `${this.#maxMessageBytes} bytes and ${this.#maxDescriptors} descriptors`;
      throw codedError("ERR_SEQPACKET_TRUNCATED", `A message has more than ${limits}`);
    }
    if (length === 0) {
      for (const fd of fds) closeSync(fd);
      return undefined;
    }
    return { bytes: data.slice(0, length), fds };
  }

  #openFd(): number {
    if (this.#closed) throw codedError("EPIPE", "The connection is closed");
    return this.#fd;
  }
}

/** Accepts connections on a path, which it made and will remove. */
export class SeqpacketListener {
  readonly #fd: number;
  readonly #path: string;
  readonly #limits: SeqpacketLimits;
  readonly #wait = new ReadableWait();
  #closed = false;

  /** See {@link listenSeqpacket}. */
  constructor(fd: number, path: string, limits: SeqpacketLimits) {
    this.#fd = fd;
    this.#path = path;
    this.#limits = limits;
  }

  /** The next connection; undefined once the listener is closed. Rejects with `EMFILE` and the like; call it again later. */
  async accept(): Promise<SeqpacketConnection | undefined> {
    if (this.#wait.pending) throw codedError("ERR_SEQPACKET_BUSY", "Another accept is waiting");
    while (!this.#closed) {
      try {
        const fd = check(libc.accept4(this.#fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC), "accept4");
        return new SeqpacketConnection(fd, this.#limits);
      } catch (error) {
        if (!hasCode(error, "EAGAIN", "EINTR", "ECONNABORTED")) throw error;
      }
      await this.#wait.until(this.#fd);
    }
    return undefined;
  }

  /** Stops listening and removes the path. Accepted connections live on. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wait.cancel();
    closeSync(this.#fd);
    unlinkIfPresent(this.#path);
  }
}

/**
 * Listens on a path, 0600 before anybody can connect. A path left behind by a dead process is taken over; one that a live
 * process listens on is `EADDRINUSE`.
 */
export function listenSeqpacket(path: string, options: SeqpacketLimits & { backlog?: number } = {}): SeqpacketListener {
  const address = encodeUnixAddress(path);
  const fd = createUnixSocket();
  try {
    if (isAbandoned(path)) unlinkIfPresent(path);
    check(libc.bind(fd, address, address.length), "bind", path);
    // Between bind and listen every connect is refused, so nobody meets the wider mode.
    chmodSync(path, 0o600);
    check(libc.listen(fd, options.backlog ?? 16), "listen", path);
    return new SeqpacketListener(fd, path, options);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Connects, at once or not at all: `ENOENT`, `ECONNREFUSED`, `EAGAIN` when the listener's queue is full. */
export function connectSeqpacket(path: string, limits: SeqpacketLimits = {}): SeqpacketConnection {
  const address = encodeUnixAddress(path);
  const fd = createUnixSocket();
  try {
    check(libc.connect(fd, address, address.length), "connect", path);
    return new SeqpacketConnection(fd, limits);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function createUnixSocket(): number {
  return check(libc.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
}

function isAbandoned(path: string): boolean {
  // Connecting to a plain file is refused too, and that is not ours to remove.
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return false;
  try {
    connectSeqpacket(path).close();
    return false;
  } catch (error) {
    return hasCode(error, "ECONNREFUSED");
  }
}

function unlinkIfPresent(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}

/** CMSG_SPACE of so many descriptors: a header of 16 bytes, then ints, rounded up to 8. */
function controlLength(descriptors: number): number {
  return 16 + Math.ceil((4 * descriptors) / 8) * 8;
}

function encodeDescriptors(fds: readonly number[]): Uint8Array<ArrayBuffer> {
  if (fds.length === 0) return allocate(0);
  const control = allocate(controlLength(fds.length));
  const view = new DataView(control.buffer);
  view.setBigUint64(0, BigInt(16 + 4 * fds.length), true);
  view.setInt32(8, SOL_SOCKET, true);
  view.setInt32(12, SCM_RIGHTS, true);
  for (const [i, fd] of fds.entries()) view.setInt32(16 + 4 * i, fd, true);
  return control;
}

/** All descriptors of all control messages (the kernel sends them in one, but may add others). */
function decodeDescriptors(control: Uint8Array<ArrayBuffer>): number[] {
  const view = new DataView(control.buffer, control.byteOffset, control.byteLength);
  const fds: number[] = [];
  for (let at = 0; at + 16 <= control.length;) {
    const length = Number(view.getBigUint64(at, true));
    if (length < 16 || at + length > control.length) break;
    if (view.getInt32(at + 8, true) === SOL_SOCKET && view.getInt32(at + 12, true) === SCM_RIGHTS) {
      for (let data = at + 16; data + 4 <= at + length; data += 4) fds.push(view.getInt32(data, true));
    }
    at += Math.ceil(length / 8) * 8;
  }
  return fds;
}

/**
 * struct msghdr and its one iovec: name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48. musl's ints
 * with padding lie at the same places on a little-endian machine. The iovec follows at 56.
 */
function messageHeader(
  data: Uint8Array<ArrayBuffer>,
  control: Uint8Array<ArrayBuffer>,
): { readonly bytes: Uint8Array<ArrayBuffer>; result(): { readonly controlBytes: number; readonly flags: number } } {
  const bytes = allocate(72);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(16, addressOf(bytes) + 56n, true);
  view.setBigUint64(24, 1n, true);
  if (control.length > 0) view.setBigUint64(32, addressOf(control), true);
  view.setBigUint64(40, BigInt(control.length), true);
  view.setBigUint64(56, addressOf(data), true);
  view.setBigUint64(64, BigInt(data.length), true);
  return { bytes, result: () => ({ controlBytes: view.getUint32(40, true), flags: view.getInt32(48, true) }) };
}

function codedError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
