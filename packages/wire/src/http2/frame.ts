// The frame layer of RFC 9113 §4 and §6: numbers and the nine-byte header. Reading is frame-reader.ts, writing output.ts.

export const FRAME_HEADER_BYTES = 9;

export const FrameType = {
  DATA: 0x0,
  HEADERS: 0x1,
  PRIORITY: 0x2,
  RST_STREAM: 0x3,
  SETTINGS: 0x4,
  PUSH_PROMISE: 0x5,
  PING: 0x6,
  GOAWAY: 0x7,
  WINDOW_UPDATE: 0x8,
  CONTINUATION: 0x9,
} as const;

export const Flag = {
  /** DATA, HEADERS. */
  END_STREAM: 0x1,
  /** SETTINGS, PING. */
  ACK: 0x1,
  /** HEADERS, CONTINUATION. */
  END_HEADERS: 0x4,
  /** DATA, HEADERS. */
  PADDED: 0x8,
  /** HEADERS. */
  PRIORITY: 0x20,
} as const;

export const SettingId = {
  HEADER_TABLE_SIZE: 0x1,
  ENABLE_PUSH: 0x2,
  MAX_CONCURRENT_STREAMS: 0x3,
  INITIAL_WINDOW_SIZE: 0x4,
  MAX_FRAME_SIZE: 0x5,
  MAX_HEADER_LIST_SIZE: 0x6,
  /** RFC 8441. */
  ENABLE_CONNECT_PROTOCOL: 0x8,
} as const;

/** What the client sends before its SETTINGS (RFC 9113 §3.4). */
export const CLIENT_PREFACE: Uint8Array = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export const MAX_WINDOW_SIZE = 0x7fffffff;
export const MAX_STREAM_ID = 0x7fffffff;
export const DEFAULT_WINDOW_SIZE = 65_535;
export const DEFAULT_FRAME_SIZE = 16_384;
export const DEFAULT_TABLE_SIZE = 4096;
export const UNLIMITED = 0xffffffff;

/** Writes the nine bytes at `offset`. */
export function writeFrameHeader(
  target: Uint8Array,
  offset: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  target[offset] = length >>> 16;
  target[offset + 1] = length >>> 8;
  target[offset + 2] = length;
  target[offset + 3] = type;
  target[offset + 4] = flags;
  writeUint32(target, offset + 5, streamId);
}

export function writeUint32(target: Uint8Array, offset: number, value: number): void {
  target[offset] = value >>> 24;
  target[offset + 1] = value >>> 16;
  target[offset + 2] = value >>> 8;
  target[offset + 3] = value;
}

/** The caller has checked that the bytes exist. */
export function readUint32(source: Uint8Array, offset: number): number {
  return (
    ((source[offset] as number) * 0x1000000 +
      (((source[offset + 1] as number) << 16) |
        ((source[offset + 2] as number) << 8) |
        (source[offset + 3] as number))) >>>
    0
  );
}

export function readUint24(source: Uint8Array, offset: number): number {
  return ((source[offset] as number) << 16) | ((source[offset + 1] as number) << 8) | (source[offset + 2] as number);
}

export function readUint16(source: Uint8Array, offset: number): number {
  return ((source[offset] as number) << 8) | (source[offset + 1] as number);
}
