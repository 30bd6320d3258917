import type { Socket } from "node:net";
import { allocate } from "../memory.ts";
import {
  SO_KEEPALIVE,
  SO_ORIGINAL_DST,
  SO_PEERCRED,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_TCP,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_USER_TIMEOUT,
} from "./constants.ts";
import { check, hasCode } from "./errno.ts";
import { libc } from "./libc.ts";
import type { InternetAddress } from "./socket-address.ts";
import { decodeInternetAddress } from "./socket-address.ts";

export interface KeepaliveOptions {
  /** Idle time before the first probe. Seconds, 1 to 32767, as the kernel limits it. */
  readonly timeSeconds: number;
  readonly intervalSeconds: number;
  /** Unanswered probes until the connection is dead, 1 to 127. */
  readonly retries: number;
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Options are set and read synchronously, several for each connection: one piece of memory serves them all. */
const optionValue = allocate(28);
const optionView = new DataView(optionValue.buffer);
const optionLength = allocate(4);
const optionLengthView = new DataView(optionLength.buffer);

/** The descriptor under a node:net socket or server. Throws `ERR_NO_DESCRIPTOR` when it is closed or not connected. */
export function socketFd(socket: Socket): number {
  const handle = (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle;
  if (typeof handle?.fd === "number" && handle.fd >= 0) return handle.fd;
  throw Object.assign(new Error("The socket has no descriptor: closed, or not connected"), {
    code: "ERR_NO_DESCRIPTOR",
  });
}

/**
 * Where a redirected connection was going before netfilter changed it. Without a NAT rule it is the local address;
 * undefined if the kernel tracks no connection here. Throws on a socket that is not connected.
 */
export function originalDestination(socket: Socket | number): InternetAddress | undefined {
  const fd = typeof socket === "number" ? socket : socketFd(socket);
  // IPv4 first: a dual-stack socket holds it for its IPv4-mapped peers.
  return readOriginalDestination(fd, SOL_IP, 16) ?? readOriginalDestination(fd, SOL_IPV6, 28);
}

/** TCP keepalive with all its numbers, which node:net can only set in part. */
export function setKeepalive(fd: number, options: KeepaliveOptions): void {
  setIntegerOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  setIntegerOption(fd, SOL_TCP, TCP_KEEPIDLE, options.timeSeconds);
  setIntegerOption(fd, SOL_TCP, TCP_KEEPINTVL, options.intervalSeconds);
  setIntegerOption(fd, SOL_TCP, TCP_KEEPCNT, options.retries);
}

/** How long sent data may stay unacknowledged before the kernel gives the connection up. 0: the system's default. */
export function setUserTimeout(fd: number, milliseconds: number): void {
  setIntegerOption(fd, SOL_TCP, TCP_USER_TIMEOUT, milliseconds);
}

/** Who is at the other end of a unix socket, as the kernel noted it when the connection was made. */
export function peerCredentials(fd: number): PeerCredentials {
  readOption(fd, SOL_SOCKET, SO_PEERCRED, 12);
  const [pid, uid, gid] = [optionView.getInt32(0, true), optionView.getUint32(4, true), optionView.getUint32(8, true)];
  return { pid, uid, gid };
}

/** An option that is a C int. */
export function setIntegerOption(fd: number, level: number, option: number, value: number): void {
  optionView.setInt32(0, value, true);
  const result = libc.setsockopt(fd, level, option, optionValue, 4);
  if (result < 0) check(result, "setsockopt", describeOption(level, option));
}

/** See {@link setIntegerOption}. */
export function integerOption(fd: number, level: number, option: number): number {
  readOption(fd, level, option, 4);
  return optionView.getInt32(0, true);
}

/** Into {@link optionValue}; its first `byteLength` bytes are the value. */
function readOption(fd: number, level: number, option: number, byteLength: number): void {
  optionLengthView.setUint32(0, byteLength, true);
  const result = libc.getsockopt(fd, level, option, optionValue, optionLength);
  if (result < 0) check(result, "getsockopt", describeOption(level, option));
}

function describeOption(level: number, option: number): string {
  return `(level ${level}, option ${option})`;
}

function readOriginalDestination(fd: number, level: number, byteLength: number): InternetAddress | undefined {
  try {
    readOption(fd, level, SO_ORIGINAL_DST, byteLength);
    return decodeInternetAddress(optionValue);
  } catch (error) {
    // Not tracked; of the other family; or netfilter is not loaded.
    if (hasCode(error, "ENOENT", "ENOPROTOOPT", "EOPNOTSUPP")) return undefined;
    throw error;
  }
}
