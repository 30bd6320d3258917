export type { ByteChannel, ByteChannelHandler } from "./byte-channel.ts";
export type { HandshakeOptions, SecureChannel, TlsContext, TlsEngine, TlsMaterial } from "./tls/engine.ts";
