import type { Http1Headers } from "./headers.ts";

export type Http1Version = "1.0" | "1.1";

/** How the end of a body is told (RFC 9112 §6). */
export type BodyFraming =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly length: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until-close" };

/** What both heads have in common. */
export interface Http1Head {
  readonly version: Http1Version;
  readonly headers: Http1Headers;
  readonly body: BodyFraming;
  /** False: this is the last message of its direction; close after the exchange (RFC 9112 §9.3). */
  readonly keepAlive: boolean;
  /** Lower-cased tokens of `Connection`: a proxy removes these fields, whatever their names. */
  readonly connectionTokens: readonly string[];
  /** Lower-cased protocols of `Upgrade`, empty unless `Connection` says `upgrade` too (and the version is 1.1). */
  readonly upgrade: readonly string[];
}

export type TargetForm = "origin" | "absolute" | "authority" | "asterisk";

export interface Http1RequestHead extends Http1Head {
  readonly method: string;
  /** As received. */
  readonly target: string;
  readonly targetForm: TargetForm;
  /** Origin form of the target (`/path?query` or `*`); for CONNECT the empty string. */
  readonly path: string;
  /** Lower-cased `host[:port]` of the target or of Host, which agree. Undefined only for HTTP/1.0 without Host. */
  readonly authority: string | undefined;
  /** The client waits for `100 Continue` before it sends its body. */
  readonly expectContinue: boolean;
}

export interface Http1ResponseHead extends Http1Head {
  readonly status: number;
  readonly reason: string;
  /** True for 101 and for 2xx to CONNECT: what follows on the connection is not HTTP. */
  readonly tunnel: boolean;
}

/** Limits on what a peer can make us hold. Sizes in bytes. */
export interface Http1Limits {
  /** Request or status line plus header fields. Default 64 KiB. */
  readonly maxHeadBytes: number;
  /** Fields of a head. Default 256. */
  readonly maxHeaderCount: number;
  /** One chunk-size line with its extensions. Default 256. */
  readonly maxChunkLineBytes: number;
  /** All chunk extensions of one message. Default 16 KiB. */
  readonly maxChunkExtensionBytes: number;
  /** Trailer fields of one message. Default 16 KiB; their count is limited by `maxHeaderCount`. */
  readonly maxTrailerBytes: number;
  /** 1xx responses before the final one. Default 16. */
  readonly maxInformational: number;
}

export const defaultHttp1Limits: Http1Limits = {
  maxHeadBytes: 64 * 1024,
  maxHeaderCount: 256,
  maxChunkLineBytes: 256,
  maxChunkExtensionBytes: 16 * 1024,
  maxTrailerBytes: 16 * 1024,
  maxInformational: 16,
};

/** Events of one message. Chunks are borrowed: their memory is reused when the call returns. */
export interface Http1MessageHandler<Head> {
  onHead(head: Head): void;
  onBody(chunk: Uint8Array): void;
  /** The message is complete. `trailers` only when a chunked body had some. */
  onEnd(trailers: Http1Headers | undefined): void;
}

export type Http1RequestHandler = Http1MessageHandler<Http1RequestHead>;

export interface Http1ResponseHandler extends Http1MessageHandler<Http1ResponseHead> {
  /** A 1xx other than 101; the final head follows. */
  onInformational(head: Http1ResponseHead): void;
}
