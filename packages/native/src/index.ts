export { hasCode, SystemError } from "./linux/errno.ts";
export type { FileLimit } from "./linux/file-limit.ts";
export { raiseFileLimit } from "./linux/file-limit.ts";
export type { NetnsHandle } from "./linux/netns.ts";
export { netnsFromFd, netnsHasIpv6, netnsInode, openNetns, ownNetnsInode, withNetns } from "./linux/netns.ts";
export type { DialSocketOptions, ListenerOptions, UdpSocketOptions } from "./linux/socket.ts";
export {
  adoptUdpSocket,
  closeSocket,
  createDialSocket,
  createListener,
  createUdpSocket,
  localAddress,
  peerAddress,
} from "./linux/socket.ts";
export type { InternetAddress } from "./linux/socket-address.ts";
export type { KeepaliveOptions, PeerCredentials } from "./linux/socket-options.ts";
export {
  originalDestination,
  peerCredentials,
  setKeepalive,
  setUserTimeout,
  socketFd,
} from "./linux/socket-options.ts";
export type { SeqpacketLimits, SeqpacketMessage } from "./linux/unix-seqpacket.ts";
export { connectSeqpacket, listenSeqpacket, SeqpacketConnection, SeqpacketListener } from "./linux/unix-seqpacket.ts";
export type { PacketSocket } from "./linux/packet-socket.ts";
export { openPacketSocket } from "./linux/packet-socket.ts";
export type { OpensslMaterial } from "./openssl/context.ts";
export { OpensslContext } from "./openssl/context.ts";
export { SslReason } from "./openssl/constants.ts";
export type { OpensslObjectCounts } from "./openssl/live-objects.ts";
export { liveOpensslObjects } from "./openssl/live-objects.ts";
export type { OpensslErrorCode } from "./openssl/openssl-error.ts";
export { OpensslError } from "./openssl/openssl-error.ts";
export { maxSendBytes } from "./openssl/thread-memory.ts";
export type { TlsPeer } from "./openssl/tls-state.ts";
export { TlsState } from "./openssl/tls-state.ts";
