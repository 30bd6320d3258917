import type { TLSSocket } from "node:tls";
import type { ByteChannelHandler } from "../byte-channel.ts";
import { WireError } from "../errors.ts";
import { defaultHighWaterMark } from "../socket.ts";
import { WriteBacklog } from "../write-backlog.ts";
import type { CipherStream } from "./cipher-stream.ts";
import type { SecureChannel } from "./engine.ts";

/**
 * An established TLSSocket as a channel. Each direction ends by its own close_notify; a FIN without one is
 * `TLS_TRUNCATED`. The channel closes when the connection below has closed.
 */
export class NodeTlsChannel implements SecureChannel {
  readonly peerCertificates: readonly Uint8Array[];
  readonly alpnProtocol: string;
  readonly #tls: TLSSocket;
  readonly #cipher: CipherStream;
  readonly #backlog = new WriteBacklog();
  #handler: ByteChannelHandler | undefined;
  #flowing = false;
  #finReceived = false;
  #closeNotifyReceived = false;
  #ending = false;
  #writing = false;
  /** Bytes of a write that went to TLS without the backlog and is not done. */
  #directBytes = 0;
  #owesDrain = false;
  #closing = false;
  #transportClosed = false;
  #finished = false;
  #closeDelivered = false;
  #error: Error | undefined;
  #bytesRead = 0;
  #bytesWritten = 0;

  constructor(tls: TLSSocket, cipher: CipherStream, peerCertificates: readonly Uint8Array[], alpnProtocol: string) {
    this.#tls = tls;
    this.#cipher = cipher;
    this.peerCertificates = peerCertificates;
    this.alpnProtocol = alpnProtocol;
    cipher.onFin = () => this.#onFin();
    cipher.onTransportClose = () => this.#onTransportClose();
    tls.once("end", () => this.#onEnd());
    tls.on("error", (error) => this.#fail(error));
    // A server side that no tls.Server made tells of broken records only by this event (node:tls, "control released").
    tls.on("_tlsError", (error: Error) => this.#fail(error));
    tls.pause();
    tls.on("data", (chunk: Uint8Array) => this.#onData(chunk));
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  get bufferedBytes(): number {
    return this.#directBytes + this.#backlog.size;
  }

  get closed(): boolean {
    return this.#closing;
  }

  setHandler(handler: ByteChannelHandler): void {
    this.#handler = handler;
    if (this.#finished && !this.#closeDelivered) queueMicrotask(() => this.#deliverClose());
  }

  resume(): void {
    if (this.#flowing || this.#closing || this.#handler === undefined) return;
    this.#flowing = true;
    this.#tls.resume();
  }

  pause(): void {
    if (!this.#flowing) return;
    this.#flowing = false;
    this.#tls.pause();
  }

  write(chunk: Uint8Array): boolean {
    if (this.#closing) return false;
    if (this.#ending) {
      this.destroy(new WireError("WRITE_AFTER_END", `${chunk.length} bytes written after the end of the stream`));
      return false;
    }
    if (chunk.length === 0) return !this.#owesDrain;
    this.#bytesWritten += chunk.length;
    if (this.#writing) this.#backlog.append(chunk);
    else this.#writeDirect(chunk);
    if (this.bufferedBytes > defaultHighWaterMark) this.#owesDrain = true;
    return !this.#owesDrain;
  }

  end(): void {
    if (this.#closing || this.#ending) return;
    this.#ending = true;
    if (!this.#writing) this.#tls.end();
  }

  destroy(error?: Error): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#flowing = false;
    this.#error ??= error;
    this.#cipher.channel.destroy();
    this.#tls.destroy();
    if (this.#transportClosed) queueMicrotask(() => this.#finish());
  }

  /** An idle TLSSocket encrypts (and so copies) the bytes before `write` returns: SSL_write takes all or keeps a copy. */
  #writeDirect(chunk: Uint8Array): void {
    this.#writing = true;
    this.#directBytes = chunk.length;
    this.#tls.write(chunk, (error) => this.#onWritten(error));
  }

  #writeBacklog(bytes: Buffer): void {
    this.#writing = true;
    this.#tls.write(bytes, (error) => this.#onWritten(error));
  }

  #onWritten(error: Error | null | undefined): void {
    if (error || this.#closing) return;
    this.#writing = false;
    if (this.#directBytes > 0) this.#directBytes = 0;
    else this.#backlog.releaseHead();
    const next = this.#backlog.takeHead();
    if (next !== undefined) return this.#writeBacklog(next);
    if (this.#ending) {
      this.#tls.end();
    } else if (this.#owesDrain) {
      this.#owesDrain = false;
      this.#deliver((handler) => handler.onDrain());
    }
  }

  #onData(chunk: Uint8Array): void {
    if (this.#closing) return;
    this.#bytesRead += chunk.length;
    this.#deliver((handler) => handler.onData(chunk));
    this.#failIfTruncated();
  }

  #onEnd(): void {
    this.#closeNotifyReceived = true;
    this.#deliver((handler) => handler.onEnd());
    if (this.#transportClosed) this.#finish();
  }

  /** Every byte below was decrypted by now; a close_notify would have been among them. */
  #onFin(): void {
    this.#finReceived = true;
    this.#failIfTruncated();
  }

  /** Data that came before the truncation is delivered first: the error follows the last byte. */
  #failIfTruncated(): void {
    if (!this.#finReceived || this.#closing || this.#closeNotifyReceived || hasReadEnd(this.#tls)) return;
    if (this.#tls.readableLength > 0) return;
    this.destroy(new WireError("TLS_TRUNCATED", "Connection ended without close_notify: bytes may be missing"));
  }

  #fail(error: Error): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#flowing = false;
    this.#error = new WireError("TLS_PROTOCOL_ERROR", `TLS failed: ${error.message}`, { cause: error });
    this.#cipher.channel.close();
  }

  #deliver(event: (handler: ByteChannelHandler) => void): void {
    if (this.#handler === undefined || this.#closing) return;
    try {
      event(this.#handler);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #onTransportClose(): void {
    this.#transportClosed = true;
    // Both FINs are through, but a paused reader has not had everything: `onEnd` or the truncation error comes first.
    const undelivered = this.#tls.readableLength > 0 || (hasReadEnd(this.#tls) && !this.#closeNotifyReceived);
    if (undelivered && !this.#closing && this.#cipher.transportError === undefined) return;
    this.#finish();
  }

  #finish(): void {
    if (!this.#closing) this.#error ??= this.#cipher.transportError;
    this.#closing = true;
    this.#finished = true;
    this.#flowing = false;
    this.#tls.destroy();
    this.#cipher.release();
    this.#backlog.clear();
    this.#deliverClose();
  }

  #deliverClose(): void {
    const handler = this.#handler;
    if (handler === undefined || this.#closeDelivered) return;
    this.#closeDelivered = true;
    handler.onClose(this.#error);
  }
}

/** The end was read but not yet emitted, because data before it waits. */
function hasReadEnd(tls: TLSSocket): boolean {
  return (tls as unknown as { _readableState: { ended: boolean } })._readableState.ended;
}
