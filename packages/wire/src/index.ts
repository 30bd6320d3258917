export type { ByteChannel, ByteChannelHandler } from "./byte-channel.ts";
export type { HandshakeOptions, SecureChannel, TlsContext, TlsEngine, TlsMaterial } from "./tls/engine.ts";
export { ErrorCode, formatErrorCode, Http2Error } from "./http2/error.ts";
export type { HeaderField, HeaderList } from "./http2/header-field.ts";
export { findHeader, headerList } from "./http2/header-field.ts";
export type {
  BudgetOptions,
  FloodBudgetOptions,
  FloodKind,
  Http2Limit,
  Http2Options,
  Http2Role,
} from "./http2/options.ts";
export type {
  Http2Budget,
  Http2Goaway,
  Http2PeerSettings,
  Http2Session,
  Http2SessionHandler,
  Http2SessionOptions,
  Http2SessionStats,
  Http2Stream,
  Http2StreamHandler,
} from "./http2/types.ts";
