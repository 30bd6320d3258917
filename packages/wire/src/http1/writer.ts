import type { Http1Headers } from "./headers.ts";
import type { BodyFraming } from "./message.ts";

/** Where the bytes go: a ByteChannel, or anything with its `write`. The chunk is borrowed. */
export interface ByteSink {
  write(chunk: Uint8Array): boolean;
}

/**
 * Writes messages. Framing fields are the writer's: it adds `content-length` or `transfer-encoding` itself and refuses
 * a head that brings its own, so what is written can never disagree with what follows.
 */
export declare class Http1Writer {
  constructor(sink: ByteSink);
  requestHead(head: {
    readonly method: string;
    readonly target: string;
    readonly headers: Http1Headers;
    readonly body: BodyFraming;
    /** Keeps the head to send it in one write with the first body bytes, or at `flush` or `end`. */
    readonly hold?: boolean;
  }): void;
  responseHead(head: {
    readonly status: number;
    readonly reason?: string;
    readonly headers: Http1Headers;
    readonly body: BodyFraming;
    /** Of the request: HEAD and CONNECT change what a body is. */
    readonly requestMethod: string;
    readonly hold?: boolean;
  }): void;
  /** 1xx other than 101; no body. */
  informational(status: number, headers?: Http1Headers): void;
  /** As `ByteChannel.write`: false means wait for the sink's drain. */
  body(chunk: Uint8Array): boolean;
  /** Throws `HTTP1_BODY_LENGTH_MISMATCH` when fewer bytes were written than announced. */
  end(trailers?: Http1Headers): void;
  flush(): void;
}
