import { ByteWriter } from "./byte-writer.ts";
import { Http2Error } from "./error.ts";
import { findFieldProblem } from "./field-syntax.ts";
import { Flag, FrameType } from "./frame.ts";
import type { HeaderList } from "./header-field.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import { ENTRY_OVERHEAD } from "./hpack-table.ts";
import type { Output } from "./output.ts";
import type { Http2PeerSettings } from "./types.ts";

/** Header blocks are encoded here and copied into frames before anything else runs. */
const scratch: ByteWriter = new ByteWriter(4096);

/** Checks, compresses and frames the header lists we send. */
export class HeaderSender {
  readonly encoder: HpackEncoder;
  readonly #output: Output;

  constructor(output: Output, encoderTableSize: number) {
    this.#output = output;
    this.encoder = new HpackEncoder(encoderTableSize);
  }

  /** Throws `HTTP2_INVALID_HEADERS` for `problem`, for a bad field, and for more than the peer takes. We never send what we would refuse. */
  check(headers: HeaderList, problem: string | undefined, peer: Http2PeerSettings): void {
    let size = 0;
    let fault = problem;
    for (const { name, value } of headers) {
      size += name.length + value.length + ENTRY_OVERHEAD;
      fault ??= findFieldProblem(name, value);
    }
    const limit = peer.maxHeaderListSize;
    if (size > limit) fault ??= `the list has ${size} bytes and the peer takes ${limit}`;
    if (fault === undefined) return;
    throw new Http2Error(`Headers cannot be sent: ${fault}`, { code: "HTTP2_INVALID_HEADERS" });
  }

  /** HEADERS, and CONTINUATIONs where the block is larger than a frame. */
  send(streamId: number, headers: HeaderList, endStream: boolean, peer: Http2PeerSettings): void {
    scratch.length = 0;
    this.encoder.encode(headers, scratch);
    const { bytes, length } = scratch;
    let from = 0;
    do {
      const to = Math.min(length, from + peer.maxFrameSize);
      const flags = (to === length ? Flag.END_HEADERS : 0) | (from === 0 && endStream ? Flag.END_STREAM : 0);
      this.#output.frame(from === 0 ? FrameType.HEADERS : FrameType.CONTINUATION, flags, streamId, bytes, from, to);
      from = to;
    } while (from < length);
  }
}
