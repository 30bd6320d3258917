export type { ByteChannel, ByteChannelHandler } from "./byte-channel.ts";
export type { HandshakeOptions, SecureChannel, TlsContext, TlsEngine, TlsMaterial } from "./tls/engine.ts";
export { ErrorCode, formatErrorCode, Http2Error } from "./http2/error.ts";
export type { HeaderField, HeaderList } from "./http2/header-field.ts";
export { findHeader, headerList } from "./http2/header-field.ts";
export { createHttp2Budget } from "./http2/flood-budget.ts";
export { createHttp2Session } from "./http2/session.ts";
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
export type { BufferPoolStats } from "./buffer-pool.ts";
export { WireError } from "./errors.ts";
export type { WireErrorCode } from "./errors.ts";
export { Http1Error } from "./http1/errors.ts";
export type { Http1ErrorCode } from "./http1/errors.ts";
export { Http1Headers } from "./http1/headers.ts";
export { defaultHttp1Limits } from "./http1/message.ts";
export type {
  BodyFraming,
  Http1Head,
  Http1Limits,
  Http1MessageHandler,
  Http1RequestHandler,
  Http1RequestHead,
  Http1ResponseHandler,
  Http1ResponseHead,
  Http1Version,
  TargetForm,
} from "./http1/message.ts";
export { Http1RequestParser } from "./http1/request-parser.ts";
export { Http1ResponseParser } from "./http1/response-parser.ts";
export { Http1Writer } from "./http1/writer.ts";
export type { ByteSink, RequestHeadToWrite, ResponseHeadToWrite } from "./http1/writer.ts";
export { bufferPoolStats } from "./buffer-pool.ts";
export { connectTcp } from "./connect-tcp.ts";
export type { ConnectTcpOptions } from "./connect-tcp.ts";
export { createSocketChannel } from "./socket.ts";
export type { SocketChannelOptions } from "./socket.ts";
export { listenTcp } from "./tcp-listener.ts";
export type { ListenTcpOptions, TcpListener } from "./tcp-listener.ts";
export { chooseTlsEngine } from "./tls/choose-engine.ts";
export type { TlsEngineChoice, TlsEnginePreference } from "./tls/choose-engine.ts";
export { createLibsslEngine } from "./tls/libssl.ts";
export { createNodeTlsEngine } from "./tls/node-tls.ts";
export { readUriSans } from "./tls/peer-certificate.ts";
export { isForbiddenTrailer } from "./http1/body-reader.ts";
export { endToEndHeaders } from "./http1/framing.ts";
export type { ResponseContext } from "./http1/response-parser.ts";
