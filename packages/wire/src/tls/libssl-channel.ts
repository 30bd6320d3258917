import { maxSendBytes, type TlsState } from "@hairpin/native";
import type { ByteChannelHandler } from "../byte-channel.ts";
import { WireError } from "../errors.ts";
import type { SocketChannel } from "../socket.ts";
import type { SecureChannel } from "./engine.ts";

/**
 * Answers of TLS itself (key updates) to a peer that does not read. Each waits in memory; a peer that asks for more is cut.
 */
const maxUnreadReplies = 64;

/** What a finished handshake hands over. The channel owns all of it. */
export interface LibsslChannelParts {
  /** Paused. */
  readonly transport: SocketChannel;
  readonly tls: TlsState;
  readonly peerCertificates: readonly Uint8Array[];
  readonly alpnProtocol: string;
  /** Ciphertext that came with the end of the handshake; not borrowed. */
  readonly unread: Uint8Array;
}

/**
 * An established TLS connection: ciphertext of the shared read buffer goes through OpenSSL into one plaintext buffer, and
 * writes through one ring straight to write(2). Each direction ends by its own close_notify; a FIN without one is
 * `TLS_TRUNCATED`. Closes once both have ended. Native memory goes with the first of: close, failure, destroy.
 */
export class LibsslChannel implements SecureChannel, ByteChannelHandler {
  readonly peerCertificates: readonly Uint8Array[];
  readonly alpnProtocol: string;
  readonly #transport: SocketChannel;
  readonly #tls: TlsState;
  #unread: Uint8Array | undefined;
  #handler: ByteChannelHandler | undefined;
  #flowing = false;
  #endState: "none" | "received" | "delivered" = "none";
  #ending = false;
  #owesDrain = false;
  #unreadReplies = 0;
  #closing = false;
  #transportClosed = false;
  #closeDelivered = false;
  #error: Error | undefined;
  #bytesRead = 0;
  #bytesWritten = 0;

  constructor(parts: LibsslChannelParts) {
    this.#transport = parts.transport;
    this.#tls = parts.tls;
    this.peerCertificates = parts.peerCertificates;
    this.alpnProtocol = parts.alpnProtocol;
    this.#unread = parts.unread.length > 0 ? parts.unread : undefined;
    this.#transport.setHandler(this);
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** Ciphertext. */
  get bufferedBytes(): number {
    return this.#transport.bufferedBytes;
  }

  get closed(): boolean {
    return this.#closing || this.#transport.closed;
  }

  setHandler(handler: ByteChannelHandler): void {
    this.#handler = handler;
    if (this.#transportClosed && !this.#closeDelivered) queueMicrotask(() => this.#deliverClose());
  }

  resume(): void {
    if (this.#flowing || this.closed || this.#handler === undefined) return;
    this.#flowing = true;
    if (this.#unread === undefined && this.#endState !== "received") this.#transport.resume();
    else queueMicrotask(() => this.#catchUp());
  }

  pause(): void {
    if (!this.#flowing) return;
    this.#flowing = false;
    this.#transport.pause();
  }

  write(chunk: Uint8Array): boolean {
    if (this.closed) return false;
    if (this.#ending) {
      this.destroy(new WireError("WRITE_AFTER_END", `${chunk.length} bytes written after the end of the stream`));
      return false;
    }
    if (chunk.length === 0) return !this.#owesDrain;
    this.#bytesWritten += chunk.length;
    for (let from = 0; from < chunk.length; from += maxSendBytes) {
      const piece = chunk.length <= maxSendBytes ? chunk : chunk.subarray(from, from + maxSendBytes);
      const ciphertext = this.#tls.send(piece);
      if (ciphertext === undefined) {
        this.#fail();
        return false;
      }
      if (!this.#transport.write(ciphertext)) this.#owesDrain = true;
      if (this.#transport.closed) return false;
    }
    return !this.#owesDrain;
  }

  end(): void {
    if (this.closed || this.#ending) return;
    this.#ending = true;
    this.#tls.end();
    const closeNotify = this.#tls.takeOutput();
    if (closeNotify !== undefined) this.#transport.write(closeNotify);
    if (this.#endState === "delivered") this.#transport.endAndClose();
    else this.#transport.end();
  }

  destroy(error?: Error): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#flowing = false;
    this.#error ??= error;
    this.#tls.close();
    this.#transport.destroy();
  }

  /** Of the transport: ciphertext in the buffer that all sockets of the thread share. */
  onData(ciphertext: Uint8Array): void {
    if (!this.#closing && this.#endState === "none") this.#receive(ciphertext);
  }

  /** Of the transport: the peer's FIN. Every byte before it was decrypted; a close_notify would have been among them. */
  onEnd(): void {
    if (this.#closing || this.#endState !== "none") return;
    this.destroy(new WireError("TLS_TRUNCATED", "Connection ended without close_notify: bytes may be missing"));
  }

  /** Of the transport: everything is with the kernel. */
  onDrain(): void {
    this.#unreadReplies = 0;
    if (!this.#owesDrain) return;
    this.#owesDrain = false;
    this.#deliver((handler) => handler.onDrain());
  }

  /** Of the transport: the connection is gone. */
  onClose(error: Error | undefined): void {
    if (!this.#closing) this.#error ??= error;
    this.#closing = true;
    this.#flowing = false;
    this.#transportClosed = true;
    this.#unread = undefined;
    this.#tls.close();
    this.#deliverClose();
  }

  #receive(ciphertext: Uint8Array): void {
    const tls = this.#tls;
    const plaintext = tls.receive(ciphertext);
    // The output lies in memory of the thread: it goes before anybody else writes.
    const reply = tls.takeOutput();
    if (reply !== undefined) this.#sendReply(reply);
    if (plaintext.length > 0 && !this.closed) {
      this.#bytesRead += plaintext.length;
      const handler = this.#handler;
      try {
        handler?.onData(plaintext);
      } catch (error) {
        this.destroy(asError(error));
      }
    }
    if (this.#closing) return;
    if (tls.failure !== undefined) return this.#fail();
    if (!tls.peerEnded) return;
    this.#endState = "received";
    if (this.#flowing) this.#deliverEnd();
  }

  /** An alert, or the answer to a key update. After our close_notify nothing may follow (RFC 8446 §6.1). */
  #sendReply(reply: Uint8Array): void {
    if (this.#ending || this.#transport.write(reply) || this.#closing) return;
    if (++this.#unreadReplies > maxUnreadReplies)
      this.destroy(new WireError("TLS_PROTOCOL_ERROR", "Peer asks for key updates and does not read the answers"));
  }

  /** What could not be delivered while nobody read, or nobody was there. */
  #catchUp(): void {
    const unread = this.#unread;
    if (!this.#flowing || this.closed) return;
    this.#unread = undefined;
    if (unread !== undefined) this.#receive(unread);
    else if (this.#endState === "received") this.#deliverEnd();
    if (this.#flowing && !this.closed) this.#transport.resume();
  }

  #deliverEnd(): void {
    this.#endState = "delivered";
    this.#deliver((handler) => handler.onEnd());
    if (this.#ending && !this.closed) this.#transport.endAndClose();
  }

  /** OpenSSL's alert, if it made one, is with the transport: closing without RST lets it arrive. */
  #fail(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#flowing = false;
    const cause = this.#tls.failure;
    const reason = cause?.message ?? "no reason given";
    this.#error = new WireError("TLS_PROTOCOL_ERROR", `TLS failed: ${reason}`, { cause });
    this.#tls.close();
    this.#transport.close();
  }

  #deliver(event: (handler: ByteChannelHandler) => void): void {
    if (this.#handler === undefined || this.#closing) return;
    try {
      event(this.#handler);
    } catch (error) {
      this.destroy(asError(error));
    }
  }

  #deliverClose(): void {
    const handler = this.#handler;
    if (handler === undefined || this.#closeDelivered) return;
    this.#closeDelivered = true;
    handler.onClose(this.#error);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
