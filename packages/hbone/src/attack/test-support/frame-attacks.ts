// Frames that break rules or limits of HTTP/2, by the ids of the attack catalogue in docs/security.md. Each holds for both roles
// unless its list says otherwise; stream 1 is an open tunnel.
import type { ErrorCode } from "@hairpin/wire";
import {
  block,
  Flag,
  FrameType,
  headersFrame,
  rawFrame,
  SettingId,
  settingsFrame,
  uint32,
} from "@hairpin/wire/test-support/frames";

export type Fields = readonly (readonly [string, string])[];

export const END_HEADERS: number = Flag.END_HEADERS;
export const connectTo = (authority: string): Fields => [
  [":method", "CONNECT"],
  [":authority", authority],
];

/** The same frame again and again, each cheap to send. */
export interface FrameFlood {
  readonly id: string;
  readonly name: string;
  readonly limit: string;
  /** So many are let pass while time stands still. */
  readonly burst: number;
  readonly frame: (index: number) => Uint8Array;
}

export const floods: readonly FrameFlood[] = [
  flood("H4", "PING", "pings", 200, rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8))),
  flood("H4", "SETTINGS", "settings", 32, settingsFrame()),
  flood("H4", "SETTINGS that toggle the header table", "settings", 32, (i) =>
    settingsFrame([SettingId.HEADER_TABLE_SIZE, i % 2 === 0 ? 0 : 65_536]),
  ),
  flood("H4", "GOAWAY", "settings", 32, rawFrame(FrameType.GOAWAY, 0, 0, uint32(0x7fffffff, 0))),
  flood("H4", "PRIORITY", "ignoredFrames", 2000, rawFrame(FrameType.PRIORITY, 0, 1, Buffer.from([0, 0, 0, 0, 9]))),
  flood("H4", "frames of unknown types", "ignoredFrames", 2000, (i) =>
    rawFrame(0x20 + (i % 200), 0, 0, Buffer.alloc(20)),
  ),
  flood("H11", "ORIGIN", "ignoredFrames", 2000, rawFrame(0xc, 0, 0, Buffer.from("\u0000\u0009https://a", "latin1"))),
  flood(
    "H11",
    "ALTSVC",
    "ignoredFrames",
    2000,
    rawFrame(0xa, 0, 0, Buffer.from("\u0000\u0009https://ah3=1", "latin1")),
  ),
  flood("H4", "empty DATA", "emptyData", 500, rawFrame(FrameType.DATA, 0, 1)),
  flood("H4", "DATA of padding", "emptyData", 500, rawFrame(FrameType.DATA, Flag.PADDED, 1, Buffer.from([3, 0, 0, 0]))),
  flood(
    "H5",
    "WINDOW_UPDATE of one byte on the connection",
    "windowUpdates",
    5000,
    rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1)),
  ),
  flood(
    "H5",
    "WINDOW_UPDATE of one byte on a stream",
    "windowUpdates",
    5000,
    rawFrame(FrameType.WINDOW_UPDATE, 0, 1, uint32(1)),
  ),
  flood("H14", "PING acks nobody asked for", "pings", 200, rawFrame(FrameType.PING, Flag.ACK, 0, Buffer.alloc(8))),
];

function flood(
  id: string,
  name: string,
  limit: string,
  burst: number,
  frame: Uint8Array | ((index: number) => Uint8Array),
): FrameFlood {
  return { id, name, limit, burst, frame: frame instanceof Uint8Array ? () => frame : frame };
}

/** Frames that end the connection at once. */
export interface ConnectionAttack {
  readonly id: string;
  readonly name: string;
  readonly code: keyof typeof ErrorCode;
  readonly limit?: string;
  readonly frames: readonly Uint8Array[];
}

/** An indexed field that is in no table. */
const unknownIndex = Buffer.from([0xff, 0x80, 0x01]);
/** A size update to 2^20. */
const hugeTable = Buffer.from([0x3f, 0xe1, 0xff, 0x3f]);

/** `stream`: an id whose HEADERS the other side would take. */
export function connectionAttacks(stream: number, fields: Fields): readonly ConnectionAttack[] {
  const open = headersFrame(stream, fields, 0);
  const continuation = (bytes: number): Buffer => rawFrame(FrameType.CONTINUATION, 0, stream, Buffer.alloc(bytes));
  const headers = (payload: Buffer): Buffer => rawFrame(FrameType.HEADERS, END_HEADERS, stream, payload);
  return [
    {
      id: "H3",
      name: "CONTINUATION without end",
      code: "ENHANCE_YOUR_CALM",
      limit: "continuationFrames",
      frames: [open, ...Array.from({ length: 50 }, () => continuation(1))],
    },
    {
      id: "H3",
      name: "empty CONTINUATIONs",
      code: "ENHANCE_YOUR_CALM",
      limit: "continuationFrames",
      frames: [open, ...Array.from({ length: 50 }, () => continuation(0))],
    },
    {
      id: "H3",
      name: "large CONTINUATIONs",
      code: "ENHANCE_YOUR_CALM",
      limit: "headerBlockBytes",
      frames: [open, ...Array.from({ length: 8 }, () => continuation(16_384))],
    },
    {
      id: "H3",
      name: "a header block that another frame interrupts",
      code: "PROTOCOL_ERROR",
      frames: [open, rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8))],
    },
    { id: "H3", name: "CONTINUATION without HEADERS", code: "PROTOCOL_ERROR", frames: [continuation(1)] },
    {
      id: "H7",
      name: "a header block above the limit in one frame",
      code: "ENHANCE_YOUR_CALM",
      limit: "headerBlockBytes",
      frames: [headers(Buffer.alloc(100_000))],
    },
    { id: "H7", name: "an index that is in no table", code: "COMPRESSION_ERROR", frames: [headers(unknownIndex)] },
    { id: "H7", name: "a header table larger than ours", code: "COMPRESSION_ERROR", frames: [headers(hugeTable)] },
    {
      id: "H7",
      name: "three toggles of the table size in a block",
      code: "COMPRESSION_ERROR",
      frames: [headers(Buffer.concat([Buffer.from([0x20, 0x3f, 0xe1, 0x1f, 0x20]), block(fields)]))],
    },
    {
      id: "H7",
      name: "Huffman codes that never end",
      code: "COMPRESSION_ERROR",
      frames: [headers(Buffer.from([0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00]))],
    },
    {
      id: "H9",
      name: "a frame above the limit",
      code: "FRAME_SIZE_ERROR",
      frames: [rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(0)).fill(0xff, 0, 3)],
    },
    {
      id: "H9",
      name: "a SETTINGS of 17 KiB",
      code: "ENHANCE_YOUR_CALM",
      limit: "controlFrameBytes",
      frames: [rawFrame(FrameType.SETTINGS, 0, 0, Buffer.alloc(6 * 3000))],
    },
    {
      id: "H9",
      name: "a PING of seven bytes",
      code: "FRAME_SIZE_ERROR",
      frames: [rawFrame(FrameType.PING, 0, 0, Buffer.alloc(7))],
    },
    {
      id: "H9",
      name: "padding longer than its frame",
      code: "PROTOCOL_ERROR",
      frames: [rawFrame(FrameType.DATA, Flag.PADDED, 1, Buffer.from([9, 0]))],
    },
    { id: "H9", name: "HEADERS on stream 0", code: "PROTOCOL_ERROR", frames: [headersFrame(0, fields, END_HEADERS)] },
    {
      id: "H6",
      name: "a window that overflows",
      code: "FLOW_CONTROL_ERROR",
      frames: [rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(0x7fffffff))],
    },
    {
      id: "H6",
      name: "an initial window that overflows an open stream",
      code: "FLOW_CONTROL_ERROR",
      frames: [
        rawFrame(FrameType.WINDOW_UPDATE, 0, 1, uint32(0x7fff0000)),
        settingsFrame([SettingId.INITIAL_WINDOW_SIZE, 0x7fffffff]),
      ],
    },
    {
      id: "H6",
      name: "WINDOW_UPDATE of 0 on the connection",
      code: "PROTOCOL_ERROR",
      frames: [rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(0))],
    },
    {
      id: "H14",
      name: "a SETTINGS ack nobody asked for",
      code: "PROTOCOL_ERROR",
      frames: [rawFrame(FrameType.SETTINGS, Flag.ACK, 0)],
    },
    {
      id: "H13",
      name: "DATA on a stream that was never opened",
      code: "PROTOCOL_ERROR",
      frames: [rawFrame(FrameType.DATA, 0, 0x3fffffff, Buffer.alloc(1))],
    },
    {
      id: "H12",
      name: "PUSH_PROMISE",
      code: "PROTOCOL_ERROR",
      frames: [rawFrame(FrameType.PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([uint32(2), block(fields)]))],
    },
  ];
}

/** Many references to one large field (HPACK bomb, CVE-2016-6581): 4,000 bytes once, then a byte for each copy. */
export function hpackBomb(fields: Fields, copies: number): Buffer {
  const value = Buffer.alloc(3990, "a");
  // Literal with incremental indexing, new name "x": 0x40, length 1, "x", length 3990 (7-bit prefix), value.
  const literal = Buffer.concat([Buffer.from([0x40, 1, 0x78, 0x7f, 0x97, 0x1e]), value]);
  // The newest dynamic entry has index 62.
  return Buffer.concat([block(fields), literal, Buffer.alloc(copies, 0x80 | 62)]);
}
