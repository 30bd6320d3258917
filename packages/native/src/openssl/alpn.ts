/** The only callback from C: the server's choice of ALPN, once a handshake. */
import koffi from "koffi";
import { addressOf, allocate } from "../memory.ts";
import { OPENSSL_NPN_NEGOTIATED, SSL_TLSEXT_ERR_ALERT_FATAL, SSL_TLSEXT_ERR_OK } from "./constants.ts";
import { libssl } from "./libssl.ts";

/** The list of protocols that both roles offer: `h2` with its length before it (RFC 7301 §3.1). */
export const alpnList: Uint8Array<ArrayBuffer> = allocate(3);
alpnList.set([2, ...Buffer.from("h2")]);

let callback: number | undefined;

/**
 * The address of this thread's callback, registered once. It chooses h2 or ends the handshake with
 * no_application_protocol, and runs on the thread that registered it: a context must stay with its thread.
 */
export function alpnCallback(): number {
  callback ??= register();
  return callback;
}

function register(): number {
  const ssl = libssl();
  const list = Number(addressOf(alpnList));
  const select = (_: number, out: number, outLength: number, offered: number, offeredLength: number): number => {
    // The choice points into our own list, which outlives the handshake.
    const result = ssl.SSL_select_next_proto(out, outLength, list, alpnList.length, offered, offeredLength);
    return result === OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
  };
  const prototype = koffi.proto("int", ["size_t", "size_t", "size_t", "size_t", "uint", "size_t"]);
  return Number(koffi.register(select, koffi.pointer(prototype)));
}
