import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FrameReader, type FrameSink, Payload } from "./frame-reader.ts";
import { rawFrame } from "./test-support/frames.ts";

/** Frames as lines; even types are wanted whole, odd ones in pieces. */
function createRecorder(): { lines: string[]; sink: FrameSink } {
  const lines: string[] = [];
  const add = (source: Buffer, start: number, end: number): void => {
    lines[lines.length - 1] += source.toString("hex", start, end);
  };
  return {
    lines,
    sink: {
      beginFrame: (type, flags, streamId, length) => {
        lines.push(`${type} ${flags} ${streamId} ${length}:`);
        return type % 2 === 0 ? Payload.WHOLE : Payload.STREAMED;
      },
      wholeFrame: add,
      streamedPiece: add,
      streamedEnd: () => {
        lines[lines.length - 1] += ".";
      },
    },
  };
}

describe("FrameReader", () => {
  it("finds the same frames however the bytes are split", () => {
    const frame = fc.record({
      type: fc.integer({ min: 0, max: 20 }),
      flags: fc.integer({ min: 0, max: 255 }),
      streamId: fc.integer({ min: 0, max: 0x7fffffff }),
      payload: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 8 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 30 })),
        (frames, cuts) => {
          const bytes = Buffer.concat(frames.map((f) => rawFrame(f.type, f.flags, f.streamId, f.payload)));
          const expected = frames.map(({ type, flags, streamId, payload }) => {
            const text = Buffer.from(payload).toString("hex");
            return `${type} ${flags} ${streamId} ${payload.length}:${text}${type % 2 === 0 ? "" : "."}`;
          });
          const { lines, sink } = createRecorder();
          const reader = new FrameReader(sink);
          let at = 0;
          for (const cut of cuts) {
            // A fresh copy each time: the reader must keep nothing of a borrowed chunk.
            const chunk = Buffer.from(bytes.subarray(at, at + cut));
            reader.read(chunk, 0, () => false);
            chunk.fill(0xee);
            at += cut;
            if (at >= bytes.length) break;
          }
          expect(lines).toEqual(expected);
        },
      ),
    );
  });

  it("ignores the reserved bit of the stream id", () => {
    const { lines, sink } = createRecorder();
    const bytes = rawFrame(0, 0, 5);
    bytes[5] = 0x80;
    new FrameReader(sink).read(bytes, 0, () => false);
    expect(lines).toEqual(["0 0 5 0:"]);
  });

  it("gives nothing more to a sink that stopped", () => {
    const { lines, sink } = createRecorder();
    new FrameReader(sink).read(Buffer.concat([rawFrame(0, 0, 1), rawFrame(0, 0, 3)]), 0, () => lines.length > 0);
    expect(lines).toHaveLength(1);
  });
});
