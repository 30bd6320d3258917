import { ByteWriter } from "../byte-writer.ts";
import { FRAME_HEADER_BYTES, FrameType, readUint24, readUint32, writeFrameHeader, writeUint32 } from "../frame.ts";
import { headerList, type HeaderField } from "../header-field.ts";
import { HpackDecoder } from "../hpack-decoder.ts";
import { HpackEncoder } from "../hpack-encoder.ts";

export { CLIENT_PREFACE, Flag, FrameType, SettingId } from "../frame.ts";

export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export function rawFrame(type: number, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  writeFrameHeader(frame, 0, payload.length, type, flags, streamId);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** Whole frames only; the client preface must have been cut off. */
export function parseFrames(bytes: Buffer): RawFrame[] {
  const frames: RawFrame[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + FRAME_HEADER_BYTES + readUint24(bytes, at);
    frames.push({
      type: bytes[at + 3] as number,
      flags: bytes[at + 4] as number,
      streamId: readUint32(bytes, at + 5),
      payload: Buffer.from(bytes.subarray(at + FRAME_HEADER_BYTES, end)),
    });
    at = end;
  }
  return frames;
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) writeUint32(bytes, i * 4, value);
  return bytes;
}

/** A header block that leaves no trace in the dynamic table, so that blocks can be sent in any order. */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  const writer = new ByteWriter(256);
  const encoder = new HpackEncoder(0);
  encoder.encode(headerList(fields), writer);
  // The first byte says that our table is empty; that is only true of this encoder.
  return Buffer.from(writer.bytes.subarray(1, writer.length));
}

/** Reads header blocks of one direction in their order; any size goes. */
export function createBlockReader(): (block: Buffer) => readonly HeaderField[] {
  const decoder = new HpackDecoder({ maxListBytes: Infinity, maxCount: Infinity });
  return (bytes) => decoder.decode(bytes, 0, bytes.length).fields;
}

/** SETTINGS with these pairs of id and value. */
export function settingsFrame(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = pairs.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 255]), uint32(value)]));
  return rawFrame(FrameType.SETTINGS, 0, 0, Buffer.concat(payload));
}

export const GET: readonly (readonly [string, string])[] = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/"],
  [":authority", "a.example"],
];
export const POST: readonly (readonly [string, string])[] = [[":method", "POST"], ...GET.slice(1)];
export const OK: readonly (readonly [string, string])[] = [[":status", "200"]];

export function headersFrame(streamId: number, fields: readonly (readonly [string, string])[], flags: number): Buffer {
  return rawFrame(FrameType.HEADERS, flags, streamId, block(fields));
}
