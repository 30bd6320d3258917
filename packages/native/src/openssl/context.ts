import { addressOf, allocate } from "../memory.ts";
import { alpnCallback, alpnList } from "./alpn.ts";
import {
  SSL_CTRL_CHAIN_CERT,
  SSL_CTRL_CLEAR_MODE,
  SSL_CTRL_SET_GROUPS_LIST,
  SSL_CTRL_SET_MAX_PROTO_VERSION,
  SSL_CTRL_SET_MIN_PROTO_VERSION,
  SSL_CTRL_SET_MODE,
  SSL_CTRL_SET_SESS_CACHE_MODE,
  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER,
  SSL_MODE_AUTO_RETRY,
  SSL_MODE_ENABLE_PARTIAL_WRITE,
  SSL_MODE_NO_AUTO_CHAIN,
  SSL_OP_NO_RX_CERTIFICATE_COMPRESSION,
  SSL_OP_NO_TICKET,
  SSL_OP_NO_TX_CERTIFICATE_COMPRESSION,
  SSL_SESS_CACHE_OFF,
  SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
  SSL_VERIFY_PEER,
  TLS1_3_VERSION,
} from "./constants.ts";
import { clearErrors, queuedError } from "./error-queue.ts";
import { libssl } from "./libssl.ts";
import { liveObjects } from "./live-objects.ts";
import { OpensslError } from "./openssl-error.ts";
import { withCertificates, withPrivateKey } from "./pem.ts";

/** PEM texts of one side. */
export interface OpensslMaterial {
  /** Leaf first, then intermediates. Sent as it is: no root is added. */
  readonly certificateChain: string;
  /** PKCS#8, not encrypted. */
  readonly privateKey: string;
  /** What a peer's chain may end in. At least one. */
  readonly roots: readonly string[];
}

const cipherSuites = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
const groups: Uint8Array<ArrayBuffer> = cString("P-256:X25519");

/**
 * An SSL_CTX for both roles: TLS 1.3 alone, AES-GCM, P-256 and X25519, certificates demanded and verified both ways, ALPN
 * h2, nothing that survives a connection (no tickets, sessions, early data). Belongs to the thread that made it. Freed with
 * `close`, or with its last connection after that.
 */
export class OpensslContext {
  #pointer: number;
  #connections = 0;
  #closed = false;

  /** Throws `OPENSSL_BAD_MATERIAL` when key, certificate or roots cannot be used, `OPENSSL_UNAVAILABLE` without libssl. */
  constructor(material: OpensslMaterial) {
    const ssl = libssl();
    clearErrors();
    this.#pointer = ssl.SSL_CTX_new(ssl.TLS_method());
    if (this.#pointer === 0) throw queuedError("OPENSSL_UNAVAILABLE", "SSL_CTX_new");
    liveObjects.contexts++;
    try {
      configure(this.#pointer);
      useMaterial(this.#pointer, material);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** No new connections; open ones go on. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#freeIfUnused();
  }

  /** A new SSL of this context, for {@link releaseConnection} to take back. Only for `TlsState`. */
  acquireConnection(): number {
    if (this.#closed) throw new OpensslError("OPENSSL_CLOSED", "TLS context was closed");
    clearErrors();
    const connection = libssl().SSL_new(this.#pointer);
    if (connection === 0) throw queuedError("OPENSSL_FAILED", "SSL_new");
    this.#connections++;
    liveObjects.connections++;
    return connection;
  }

  /** Frees the SSL. Not while a call into it runs. Only for `TlsState`. */
  releaseConnection(connection: number): void {
    libssl().SSL_free(connection);
    this.#connections--;
    liveObjects.connections--;
    this.#freeIfUnused();
  }

  #freeIfUnused(): void {
    if (!this.#closed || this.#connections > 0 || this.#pointer === 0) return;
    libssl().SSL_CTX_free(this.#pointer);
    this.#pointer = 0;
    liveObjects.contexts--;
  }
}

function configure(context: number): void {
  const ssl = libssl();
  const set = (command: number, value: number, pointer = 0): number =>
    ssl.SSL_CTX_ctrl(context, command, value, pointer);
  const mode = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN;
  // Without certificate compression a handshake costs a third: OpenSSL would compress with brotli each time.
  ssl.SSL_CTX_set_options(
    context,
    SSL_OP_NO_TICKET | SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION,
  );
  ssl.SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, 0);
  ssl.SSL_CTX_set_alpn_select_cb(context, alpnCallback(), 0);
  set(SSL_CTRL_SET_MODE, mode);
  // So that SSL_read returns after each message that is no data, and these can be counted.
  set(SSL_CTRL_CLEAR_MODE, SSL_MODE_AUTO_RETRY);
  set(SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF);
  const done =
    set(SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION) === 1 &&
    set(SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_3_VERSION) === 1 &&
    ssl.SSL_CTX_set_ciphersuites(context, cipherSuites) === 1 &&
    set(SSL_CTRL_SET_GROUPS_LIST, 0, Number(addressOf(groups))) === 1 &&
    ssl.SSL_CTX_set_num_tickets(context, 0) === 1 &&
    ssl.SSL_CTX_set_alpn_protos(context, alpnList, alpnList.length) === 0;
  if (!done) throw queuedError("OPENSSL_UNAVAILABLE", "TLS 1.3 with AES-GCM, P-256, X25519 and h2 is not to be had");
}

function useMaterial(context: number, { certificateChain, privateKey, roots }: OpensslMaterial): void {
  const ssl = libssl();
  const check = (result: number, what: string): void => {
    if (result !== 1) throw queuedError("OPENSSL_BAD_MATERIAL", what);
  };
  if (roots.length === 0) throw new OpensslError("OPENSSL_BAD_MATERIAL", "No root certificate given");
  withCertificates(certificateChain, "certificate chain", ([leaf = 0, ...intermediates]) => {
    check(ssl.SSL_CTX_use_certificate(context, leaf), "certificate");
    // larg 1: OpenSSL takes a reference of its own (SSL_CTX_add1_chain_cert).
    for (const intermediate of intermediates)
      check(ssl.SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, intermediate), "intermediate certificate");
  });
  // Fails if it is not the key of the certificate above.
  withPrivateKey(privateKey, (key) => check(ssl.SSL_CTX_use_PrivateKey(context, key), "private key"));
  const store = ssl.SSL_CTX_get_cert_store(context);
  for (const root of roots)
    withCertificates(root, "root certificate", (certificates) => {
      for (const certificate of certificates) check(ssl.X509_STORE_add_cert(store, certificate), "root certificate");
    });
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  const memory = allocate(text.length + 1);
  memory.set(Buffer.from(text, "latin1"));
  return memory;
}
