import { FrameType } from "../http2/frame.ts";
import { block, GET, OK, POST, rawFrame } from "../http2/test-support/frames.ts";

/** What a fuzz input tells an engine and its owner to do. */
export type Http2Step =
  | { readonly kind: "bytes"; readonly bytes: Buffer }
  | { readonly kind: "act"; readonly action: number; readonly stream: number; readonly size: number };

/** Header blocks that inputs name by number: mutated bytes seldom make a valid one. */
const headerBlocks: readonly Buffer[] = [
  block(GET),
  block(POST),
  block([
    [":method", "CONNECT"],
    [":authority", "10.0.0.1:8080"],
  ]),
  block([...POST, ["content-length", "5"]]),
  block(OK),
  block([[":status", "100"]]),
  block([[":status", "204"]]),
  block([...OK, ["content-length", "3"]]),
  block([["x-trailer", "t"]]),
  block([...GET, ["connection", "close"]]),
];

const maxSteps = 64;

/**
 * Reads an input as steps, so that mutations make frames out of frames:
 * op 0…4 a frame (type, flags, stream, length, payload), 5 HEADERS with a block by number, 6 an action of the owner, 7 raw bytes.
 */
export function readHttp2Script(input: Uint8Array): Http2Step[] {
  const steps: Http2Step[] = [];
  let at = 0;
  const next = (): number => input[at++] ?? 0;
  const take = (length: number): Buffer => {
    const bytes = Buffer.from(input.subarray(at, at + length));
    at += length;
    return bytes;
  };
  while (at < input.length && steps.length < maxSteps) {
    const op = next() & 7;
    if (op <= 4) {
      const [type, flags, stream, length] = [next() % 11, next(), streamId(next()), next()];
      steps.push({ kind: "bytes", bytes: rawFrame(type, flags, stream, take(length)) });
    } else if (op === 5) {
      const [flags, stream, number] = [next(), streamId(next()), next()];
      const bytes = rawFrame(FrameType.HEADERS, flags, stream, headerBlocks[number % headerBlocks.length]);
      steps.push({ kind: "bytes", bytes });
    } else if (op === 6) {
      steps.push({ kind: "act", action: next(), stream: next(), size: next() });
    } else {
      steps.push({ kind: "bytes", bytes: take(next()) });
    }
  }
  return steps;
}

/** Small ids mostly, and a few from the end of the range. */
function streamId(byte: number): number {
  return byte < 250 ? byte & 0x1f : 0x7fffffff - (255 - byte);
}

/** Steps of a seed. */
export const step = {
  frame: (type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer =>
    Buffer.concat([Buffer.from([0, type, flags, stream, payload.length]), payload]),
  head: (flags: number, stream: number, number: number): Buffer => Buffer.from([5, flags, stream, number]),
  act: (action: number, stream: number, size: number): Buffer => Buffer.from([6, action, stream, size]),
};
