/**
 * The functions of libssl and libcrypto in use: the whole list, each declared once. Node carries OpenSSL and exports its
 * symbols for addons. Pointers are plain numbers (user space ends below 2^47): a call costs 40 ns then, 150 with BigInt.
 */
import koffi from "koffi";
import { OpensslError } from "./openssl-error.ts";

type Memory = Uint8Array;

const signatures: Readonly<Record<keyof Libssl, string>> = {
  OpenSSL_version: "str OpenSSL_version(int)",
  TLS_method: "size_t TLS_method()",
  SSL_CTX_new: "size_t SSL_CTX_new(size_t)",
  SSL_CTX_free: "void SSL_CTX_free(size_t)",
  SSL_CTX_ctrl: "long SSL_CTX_ctrl(size_t, int, long, size_t)",
  SSL_CTX_set_options: "uint64_t SSL_CTX_set_options(size_t, uint64_t)",
  SSL_CTX_set_ciphersuites: "int SSL_CTX_set_ciphersuites(size_t, str)",
  SSL_CTX_set_num_tickets: "int SSL_CTX_set_num_tickets(size_t, size_t)",
  SSL_CTX_set_verify: "void SSL_CTX_set_verify(size_t, int, size_t)",
  SSL_CTX_set_alpn_protos: "int SSL_CTX_set_alpn_protos(size_t, void *, uint)",
  SSL_CTX_set_alpn_select_cb: "void SSL_CTX_set_alpn_select_cb(size_t, size_t, size_t)",
  SSL_CTX_use_certificate: "int SSL_CTX_use_certificate(size_t, size_t)",
  SSL_CTX_use_PrivateKey: "int SSL_CTX_use_PrivateKey(size_t, size_t)",
  SSL_CTX_get_cert_store: "size_t SSL_CTX_get_cert_store(size_t)",
  X509_STORE_add_cert: "int X509_STORE_add_cert(size_t, size_t)",
  PEM_read_bio_X509: "size_t PEM_read_bio_X509(size_t, size_t, size_t, size_t)",
  PEM_read_bio_PrivateKey: "size_t PEM_read_bio_PrivateKey(size_t, size_t, size_t, str)",
  X509_free: "void X509_free(size_t)",
  EVP_PKEY_free: "void EVP_PKEY_free(size_t)",
  i2d_X509: "int i2d_X509(size_t, size_t)",
  X509_verify_cert_error_string: "str X509_verify_cert_error_string(long)",
  OPENSSL_sk_num: "int OPENSSL_sk_num(size_t)",
  OPENSSL_sk_value: "size_t OPENSSL_sk_value(size_t, int)",
  SSL_new: "size_t SSL_new(size_t)",
  SSL_free: "void SSL_free(size_t)",
  SSL_set_accept_state: "void SSL_set_accept_state(size_t)",
  SSL_set_connect_state: "void SSL_set_connect_state(size_t)",
  SSL_set_bio: "void SSL_set_bio(size_t, size_t, size_t)",
  SSL_do_handshake: "int SSL_do_handshake(size_t)",
  SSL_read: "int SSL_read(size_t, size_t, int)",
  SSL_write: "int SSL_write(size_t, void *, int)",
  SSL_shutdown: "int SSL_shutdown(size_t)",
  SSL_get_error: "int SSL_get_error(size_t, int)",
  SSL_get_verify_result: "long SSL_get_verify_result(size_t)",
  SSL_get0_peer_certificate: "size_t SSL_get0_peer_certificate(size_t)",
  SSL_get_peer_cert_chain: "size_t SSL_get_peer_cert_chain(size_t)",
  SSL_get0_alpn_selected: "void SSL_get0_alpn_selected(size_t, size_t, size_t)",
  SSL_select_next_proto: "int SSL_select_next_proto(size_t, size_t, size_t, uint, size_t, uint)",
  BIO_new: "size_t BIO_new(size_t)",
  BIO_s_mem: "size_t BIO_s_mem()",
  BIO_new_mem_buf: "size_t BIO_new_mem_buf(void *, int)",
  BIO_new_bio_pair: "int BIO_new_bio_pair(size_t, size_t, size_t, size_t)",
  BIO_ctrl: "long BIO_ctrl(size_t, int, long, size_t)",
  BIO_nwrite0: "int BIO_nwrite0(size_t, size_t)",
  BIO_nread: "int BIO_nread(size_t, size_t, int)",
  BIO_up_ref: "int BIO_up_ref(size_t)",
  BIO_free: "int BIO_free(size_t)",
  ERR_get_error: "ulong ERR_get_error()",
  ERR_reason_error_string: "str ERR_reason_error_string(ulong)",
};

/** Addresses are numbers; 0 is NULL. What a pointer points to is in OpenSSL's manual. */
export interface Libssl {
  readonly OpenSSL_version: (what: number) => string;
  readonly TLS_method: () => number;
  readonly SSL_CTX_new: (method: number) => number;
  readonly SSL_CTX_free: (context: number) => void;
  readonly SSL_CTX_ctrl: (context: number, command: number, value: number, pointer: number) => number;
  readonly SSL_CTX_set_options: (context: number, options: bigint) => number | bigint;
  readonly SSL_CTX_set_ciphersuites: (context: number, list: string) => number;
  readonly SSL_CTX_set_num_tickets: (context: number, count: number) => number;
  readonly SSL_CTX_set_verify: (context: number, mode: number, callback: number) => void;
  readonly SSL_CTX_set_alpn_protos: (context: number, list: Memory, length: number) => number;
  readonly SSL_CTX_set_alpn_select_cb: (context: number, callback: number, argument: number) => void;
  readonly SSL_CTX_use_certificate: (context: number, certificate: number) => number;
  readonly SSL_CTX_use_PrivateKey: (context: number, key: number) => number;
  readonly SSL_CTX_get_cert_store: (context: number) => number;
  readonly X509_STORE_add_cert: (store: number, certificate: number) => number;
  readonly PEM_read_bio_X509: (bio: number, reuse: number, callback: number, argument: number) => number;
  readonly PEM_read_bio_PrivateKey: (bio: number, reuse: number, callback: number, password: string) => number;
  readonly X509_free: (certificate: number) => void;
  readonly EVP_PKEY_free: (key: number) => void;
  readonly i2d_X509: (certificate: number, outPointer: number) => number;
  readonly X509_verify_cert_error_string: (result: number) => string;
  readonly OPENSSL_sk_num: (stack: number) => number;
  readonly OPENSSL_sk_value: (stack: number, index: number) => number;
  readonly SSL_new: (context: number) => number;
  readonly SSL_free: (ssl: number) => void;
  readonly SSL_set_accept_state: (ssl: number) => void;
  readonly SSL_set_connect_state: (ssl: number) => void;
  readonly SSL_set_bio: (ssl: number, readBio: number, writeBio: number) => void;
  readonly SSL_do_handshake: (ssl: number) => number;
  readonly SSL_read: (ssl: number, to: number, length: number) => number;
  readonly SSL_write: (ssl: number, from: Memory, length: number) => number;
  readonly SSL_shutdown: (ssl: number) => number;
  readonly SSL_get_error: (ssl: number, result: number) => number;
  readonly SSL_get_verify_result: (ssl: number) => number;
  readonly SSL_get0_peer_certificate: (ssl: number) => number;
  readonly SSL_get_peer_cert_chain: (ssl: number) => number;
  readonly SSL_get0_alpn_selected: (ssl: number, outPointer: number, outLength: number) => void;
  readonly SSL_select_next_proto: (
    outPointer: number,
    outLength: number,
    ours: number,
    oursLength: number,
    theirs: number,
    theirsLength: number,
  ) => number;
  readonly BIO_new: (method: number) => number;
  readonly BIO_s_mem: () => number;
  readonly BIO_new_mem_buf: (memory: Memory, length: number) => number;
  readonly BIO_new_bio_pair: (outFirst: number, firstSize: number, outSecond: number, secondSize: number) => number;
  readonly BIO_ctrl: (bio: number, command: number, value: number, pointer: number) => number;
  readonly BIO_nwrite0: (bio: number, outPointer: number) => number;
  readonly BIO_nread: (bio: number, outPointer: number, length: number) => number;
  readonly BIO_up_ref: (bio: number) => number;
  readonly BIO_free: (bio: number) => number;
  readonly ERR_get_error: () => number;
  readonly ERR_reason_error_string: (error: number) => string | null;
}

let loaded: Libssl | undefined;

/** Finds every symbol on the first call. Throws `OPENSSL_UNAVAILABLE` when one is missing or the FFI does not work. */
export function libssl(): Libssl {
  loaded ??= load();
  return loaded;
}

function load(): Libssl {
  try {
    const process = koffi.load(null);
    const functions = Object.entries(signatures).map(([name, signature]) => [name, process.func(signature)]);
    return Object.fromEntries(functions);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new OpensslError("OPENSSL_UNAVAILABLE", `libssl of this Node cannot be called: ${reason}`, { cause: error });
  }
}
