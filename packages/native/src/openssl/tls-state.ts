import { addressOf, allocate } from "../memory.ts";
import { SSL_ERROR_WANT_READ, SSL_ERROR_ZERO_RETURN, SslReason } from "./constants.ts";
import type { OpensslContext } from "./context.ts";
import { clearErrors, queuedError } from "./error-queue.ts";
import { libssl } from "./libssl.ts";
import { OpensslError } from "./openssl-error.ts";
import { maxReceiveBytes, maxSendBytes, threadMemory, writeWord } from "./thread-memory.ts";

/** Certificates of a peer that are kept; a longer chain is cut. */
const maxChainLength = 8;
/** Messages without data (key updates, tickets) that may follow each other; each costs up to 10 µs. */
const maxSilentMessages = 100;
const nothing: Uint8Array<ArrayBuffer> = allocate(1).subarray(0, 0);

/** What OpenSSL knows of the peer once the handshake is done. */
export interface TlsPeer {
  /** DER, leaf first, as the peer sent them; at most eight. */
  readonly certificates: readonly Uint8Array[];
  /** True: h2 was agreed. False: the peer does not speak ALPN. */
  readonly alpnAgreed: boolean;
}

/**
 * One TLS connection without a socket: ciphertext in, plaintext out, and the other way. States: handshake → open →
 * `peerEnded` (close_notify came) and `ended` (ours went) in either order → closed; `failure` ends each of them.
 *
 * Views that it returns lie in memory of the thread and are valid until the next call into any TlsState. After each call
 * {@link takeOutput} says what the peer must get: answers, alerts and key updates come at any time. The owner calls `close`.
 */
export class TlsState {
  readonly #context: OpensslContext;
  #ssl: number;
  #peerEnded = false;
  #ended = false;
  #failure: OpensslError | undefined;
  #silentMessages = 0;

  /** Throws `OPENSSL_CLOSED` when the context is. */
  constructor(context: OpensslContext, role: "server" | "client") {
    const ssl = libssl();
    const { readBio, writeBio } = threadMemory();
    this.#context = context;
    this.#ssl = context.acquireConnection();
    // The connection takes one reference of each with it when it is freed.
    ssl.BIO_up_ref(readBio);
    ssl.BIO_up_ref(writeBio);
    ssl.SSL_set_bio(this.#ssl, readBio, writeBio);
    if (role === "server") ssl.SSL_set_accept_state(this.#ssl);
    else ssl.SSL_set_connect_state(this.#ssl);
  }

  /** The peer's close_notify came: everything it sent was received. */
  get peerEnded(): boolean {
    return this.#peerEnded;
  }

  /** Why the connection is broken. Whatever was received before is authentic. */
  get failure(): OpensslError | undefined {
    return this.#failure;
  }

  /**
   * One step, with what the peer sent. Costs up to 1 ms. True: established; then {@link takeUnread} has what came after
   * the handshake. False: more is needed, or `failure` is set.
   */
  handshake(ciphertext: Uint8Array = nothing): boolean {
    const ssl = libssl();
    this.#checkUsable();
    const memory = threadMemory();
    memory.lay(ciphertext);
    clearErrors();
    const result = ssl.SSL_do_handshake(this.#ssl);
    if (result === 1) return true;
    if (ssl.SSL_get_error(this.#ssl, result) !== SSL_ERROR_WANT_READ) this.#fail("");
    memory.lay(nothing);
    return false;
  }

  /** What lies behind the handshake's last byte in what was given to {@link handshake}: its last `length` bytes. */
  takeUnread(): number {
    const memory = threadMemory();
    const length = memory.unread();
    memory.lay(nothing);
    return length;
  }

  /** Only after {@link handshake} returned true. */
  readPeer(): TlsPeer {
    const ssl = libssl();
    const { results, resultsAddress } = threadMemory();
    this.#checkUsable();
    const leaf = ssl.SSL_get0_peer_certificate(this.#ssl);
    const stack = ssl.SSL_get_peer_cert_chain(this.#ssl);
    const chain = leaf === 0 ? [] : [leaf];
    const sent = stack === 0 ? 0 : ssl.OPENSSL_sk_num(stack);
    for (let index = 0; index < sent && chain.length < maxChainLength; index++) {
      const certificate = ssl.OPENSSL_sk_value(stack, index);
      // A client finds the leaf in the chain again, a server does not.
      if (certificate !== leaf) chain.push(certificate);
    }
    results.setUint32(8, 0, true);
    ssl.SSL_get0_alpn_selected(this.#ssl, resultsAddress, resultsAddress + 8);
    // We offer, and take, nothing but h2.
    return { certificates: chain.map(toDer), alpnAgreed: results.getUint32(8, true) > 0 };
  }

  /**
   * Decrypts. `ciphertext` may be cut anywhere: OpenSSL keeps the beginning of a record. Returns all plaintext that is
   * complete; then `peerEnded` or `failure` may be set. What comes after the end is ignored.
   */
  receive(ciphertext: Uint8Array): Uint8Array {
    if (ciphertext.length > maxReceiveBytes) throw new RangeError(`more than ${maxReceiveBytes} bytes at once`);
    this.#checkUsable();
    if (this.#peerEnded) return nothing;
    const ssl = libssl();
    const memory = threadMemory();
    const { plaintext, plaintextAddress } = memory;
    memory.lay(ciphertext);
    clearErrors();
    let length = 0;
    for (;;) {
      const result = ssl.SSL_read(this.#ssl, plaintextAddress + length, plaintext.length - length);
      if (result > 0) {
        length += result;
        this.#silentMessages = 0;
        continue;
      }
      const error = ssl.SSL_get_error(this.#ssl, result);
      if (error === SSL_ERROR_WANT_READ) {
        if (memory.unread() === 0) break;
        if (++this.#silentMessages <= maxSilentMessages) continue;
        this.#failure = new OpensslError("OPENSSL_FAILED", "peer sends messages without data");
      } else if (error === SSL_ERROR_ZERO_RETURN) this.#peerEnded = true;
      else this.#fail("");
      memory.lay(nothing);
      break;
    }
    return length === 0 ? nothing : plaintext.subarray(0, length);
  }

  /** Encrypts up to `maxSendBytes` as full records. Returns the ciphertext; undefined when `failure` is set. */
  send(plaintext: Uint8Array): Uint8Array | undefined {
    if (plaintext.length > maxSendBytes) throw new RangeError(`more than ${maxSendBytes} bytes at once`);
    this.#checkUsable();
    const ssl = libssl();
    clearErrors();
    for (let sent = 0; sent < plaintext.length;) {
      const rest = sent === 0 ? plaintext : plaintext.subarray(sent);
      // One record a call: the ring has room for all of them.
      const result = ssl.SSL_write(this.#ssl, rest, rest.length);
      if (result <= 0) {
        this.#fail("");
        return undefined;
      }
      sent += result;
    }
    return threadMemory().takeOutput();
  }

  /** Sends close_notify: nothing can be sent after it, receiving goes on. */
  end(): void {
    if (this.#ended || this.#failure !== undefined) return;
    this.#checkUsable();
    this.#ended = true;
    clearErrors();
    if (libssl().SSL_shutdown(this.#ssl) < 0) this.#fail("close_notify");
  }

  /** What must go to the peer now, in order; borrowed. Undefined: nothing. */
  takeOutput(): Uint8Array | undefined {
    return threadMemory().takeOutput();
  }

  /** Frees everything. Idempotent; no other call is allowed afterwards. */
  close(): void {
    if (this.#ssl === 0) return;
    const connection = this.#ssl;
    this.#ssl = 0;
    this.#context.releaseConnection(connection);
    // SSL_free writes nothing, but nobody else may ever send what this connection left.
    threadMemory().takeOutput();
  }

  #fail(context: string): void {
    const failure = queuedError("OPENSSL_FAILED", context);
    if (failure.reason !== SslReason.certificateVerifyFailed) {
      this.#failure = failure;
      return;
    }
    const ssl = libssl();
    const detail = ssl.X509_verify_cert_error_string(ssl.SSL_get_verify_result(this.#ssl));
    this.#failure = new OpensslError("OPENSSL_FAILED", `${failure.message}: ${detail}`, { reason: failure.reason });
  }

  #checkUsable(): void {
    if (this.#ssl === 0) throw new OpensslError("OPENSSL_CLOSED", "TLS connection was closed");
  }
}

function toDer(certificate: number): Uint8Array {
  const ssl = libssl();
  const { results, resultsAddress } = threadMemory();
  const der = allocate(Math.max(1, ssl.i2d_X509(certificate, 0)));
  writeWord(results, 0, Number(addressOf(der)));
  ssl.i2d_X509(certificate, resultsAddress);
  return der;
}
