// Numbers of OpenSSL's public headers (3.5): ssl.h, sslerr.h, bio.h, pemerr.h. All are part of its ABI.

export const TLS1_3_VERSION = 0x0304;

// SSL_CTX_ctrl
export const SSL_CTRL_SET_MODE = 33;
export const SSL_CTRL_SET_SESS_CACHE_MODE = 44;
export const SSL_CTRL_CLEAR_MODE = 78;
export const SSL_CTRL_CHAIN_CERT = 89;
export const SSL_CTRL_SET_GROUPS_LIST = 92;
export const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
export const SSL_CTRL_SET_MAX_PROTO_VERSION = 124;

export const SSL_MODE_ENABLE_PARTIAL_WRITE = 0x1;
export const SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER = 0x2;
export const SSL_MODE_AUTO_RETRY = 0x4;
export const SSL_MODE_NO_AUTO_CHAIN = 0x8;

export const SSL_OP_NO_TICKET: bigint = 1n << 14n;
export const SSL_OP_NO_TX_CERTIFICATE_COMPRESSION: bigint = 1n << 32n;
export const SSL_OP_NO_RX_CERTIFICATE_COMPRESSION: bigint = 1n << 33n;

export const SSL_SESS_CACHE_OFF = 0;
export const SSL_VERIFY_PEER = 0x1;
export const SSL_VERIFY_FAIL_IF_NO_PEER_CERT = 0x2;

// SSL_get_error
export const SSL_ERROR_WANT_READ = 2;
export const SSL_ERROR_ZERO_RETURN = 6;

// The ALPN callback
export const SSL_TLSEXT_ERR_OK = 0;
export const SSL_TLSEXT_ERR_ALERT_FATAL = 2;
export const OPENSSL_NPN_NEGOTIATED = 1;

// BIO_ctrl
export const BIO_CTRL_PENDING = 10;
export const BIO_C_SET_BUF_MEM = 114;
export const BIO_NOCLOSE = 0;

export const ERR_LIB_PEM = 9;
export const PEM_R_NO_START_LINE = 108;

/** Reasons of failed connections that callers tell apart (SSL_R_*; 1000 and more: an alert of the peer). */
export const SslReason = {
  certificateVerifyFailed: 134,
  peerDidNotReturnACertificate: 199,
  noApplicationProtocol: 235,
  alertNoApplicationProtocol: 1120,
} as const;
