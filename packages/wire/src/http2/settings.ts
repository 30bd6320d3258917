// SETTINGS (RFC 9113 §6.5): what we announce, and how the peer's change our view of it.

import { ErrorCode, ConnectionFault } from "./error.ts";
import {
  DEFAULT_FRAME_SIZE,
  DEFAULT_TABLE_SIZE,
  DEFAULT_WINDOW_SIZE,
  MAX_WINDOW_SIZE,
  readUint16,
  readUint32,
  SettingId,
  UNLIMITED,
  writeUint32,
} from "./frame.ts";
import type { Http2Role, ResolvedHttp2Options } from "./options.ts";
import type { Http2PeerSettings } from "./types.ts";

const ENTRY_BYTES = 6;

/** What holds before the peer's first SETTINGS. */
export function initialPeerSettings(assumedMaxStreams: number): Http2PeerSettings {
  return {
    headerTableSize: DEFAULT_TABLE_SIZE,
    maxConcurrentStreams: assumedMaxStreams,
    initialWindowSize: DEFAULT_WINDOW_SIZE,
    maxFrameSize: DEFAULT_FRAME_SIZE,
    maxHeaderListSize: UNLIMITED,
    enableConnectProtocol: false,
  };
}

/** The payload of our SETTINGS: only what differs from the protocol's defaults. */
export function encodeSettings(role: Http2Role, options: ResolvedHttp2Options): Buffer {
  const entries: [id: number, value: number][] = [
    [SettingId.INITIAL_WINDOW_SIZE, options.initialWindowSize],
    [SettingId.MAX_FRAME_SIZE, options.maxFrameSize],
    [SettingId.MAX_HEADER_LIST_SIZE, options.maxHeaderListBytes],
  ];
  if (options.headerTableSize !== DEFAULT_TABLE_SIZE) {
    entries.push([SettingId.HEADER_TABLE_SIZE, options.headerTableSize]);
  }
  if (role === "client") entries.push([SettingId.ENABLE_PUSH, 0]);
  else entries.push([SettingId.MAX_CONCURRENT_STREAMS, options.maxConcurrentStreams]);
  if (role === "server" && options.extendedConnect) entries.push([SettingId.ENABLE_CONNECT_PROTOCOL, 1]);
  const payload = Buffer.alloc(entries.length * ENTRY_BYTES);
  for (const [i, [id, value]] of entries.entries()) {
    payload[i * ENTRY_BYTES + 1] = id;
    writeUint32(payload, i * ENTRY_BYTES + 2, value);
  }
  return payload;
}

/** Applies the peer's payload in order; unknown settings are ignored. Throws the code of §6.5.2 for a value out of range. */
export function applySettings(
  current: Http2PeerSettings,
  peerRole: Http2Role,
  payload: Buffer,
  start: number,
  end: number,
): Http2PeerSettings {
  const next = { ...current };
  for (let at = start; at < end; at += ENTRY_BYTES) {
    const value = readUint32(payload, at + 2);
    switch (readUint16(payload, at)) {
      case SettingId.HEADER_TABLE_SIZE:
        next.headerTableSize = value;
        break;
      case SettingId.ENABLE_PUSH:
        if (value > 1 || (peerRole === "server" && value === 1)) throw badSetting("ENABLE_PUSH", value);
        break;
      case SettingId.MAX_CONCURRENT_STREAMS:
        next.maxConcurrentStreams = value;
        break;
      case SettingId.INITIAL_WINDOW_SIZE:
        if (value > MAX_WINDOW_SIZE) {
          throw new ConnectionFault(
            ErrorCode.FLOW_CONTROL_ERROR,
            `SETTINGS_INITIAL_WINDOW_SIZE ${value} is above 2^31-1`,
          );
        }
        next.initialWindowSize = value;
        break;
      case SettingId.MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_SIZE || value > 0xffffff) throw badSetting("MAX_FRAME_SIZE", value);
        next.maxFrameSize = value;
        break;
      case SettingId.MAX_HEADER_LIST_SIZE:
        next.maxHeaderListSize = value;
        break;
      case SettingId.ENABLE_CONNECT_PROTOCOL:
        // RFC 8441 §3: once 1 it stays.
        if (value > 1 || (value === 0 && next.enableConnectProtocol))
          throw badSetting("ENABLE_CONNECT_PROTOCOL", value);
        next.enableConnectProtocol = value === 1;
        break;
      default:
    }
  }
  return next;
}

function badSetting(name: string, value: number): Error {
  return new ConnectionFault(ErrorCode.PROTOCOL_ERROR, `SETTINGS_${name} must not be ${value}`);
}
