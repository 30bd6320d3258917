import type { ByteChannel, ByteChannelHandler, HeaderList, Http2Stream, Http2StreamHandler } from "@hairpin/wire";
import type { Identity } from "@hairpin/shared/model";

/** One CONNECT stream that was answered 200: the bytes between two proxies for one application connection. */
export interface Tunnel extends ByteChannel {
  /** Who the other proxy proved to act for, by the certificate of the session. */
  readonly peerIdentity: Identity;
  /** Dialled tunnels: the head of the answer. Accepted tunnels: the head of the request. */
  readonly headers: HeaderList;
}

/**
 * A {@link Tunnel} over an HTTP/2 stream. It is the stream's handler from the first moment, so that an end that comes
 * before the tunnel has an owner is kept for that owner.
 */
export class StreamTunnel implements Tunnel, Http2StreamHandler {
  readonly peerIdentity: Identity;
  readonly #stream: Http2Stream;
  readonly #onFinished: () => void;
  #headers: HeaderList;
  #handler: ByteChannelHandler | undefined;
  #closed: { readonly error: Error | undefined } | undefined;
  /** Dialled tunnels: told the answer, or the end that came instead. */
  onAnswer: ((headers: HeaderList, endStream: boolean) => void) | undefined;
  onFailure: ((error: Error | undefined) => void) | undefined;

  constructor(stream: Http2Stream, peerIdentity: Identity, headers: HeaderList, onFinished: () => void) {
    this.#stream = stream;
    this.peerIdentity = peerIdentity;
    this.#headers = headers;
    this.#onFinished = onFinished;
    stream.setHandler(this);
  }

  get headers(): HeaderList {
    return this.#headers;
  }

  get bytesRead(): number {
    return this.#stream.bytesRead;
  }

  get bytesWritten(): number {
    return this.#stream.bytesWritten;
  }

  get bufferedBytes(): number {
    return this.#stream.bufferedBytes;
  }

  get closed(): boolean {
    return this.#closed !== undefined || this.#stream.closed;
  }

  setHandler(handler: ByteChannelHandler): void {
    this.#handler = handler;
    const closed = this.#closed;
    if (closed) queueMicrotask(() => handler.onClose(closed.error));
  }

  write(chunk: Uint8Array): boolean {
    return this.#stream.write(chunk);
  }

  end(): void {
    this.#stream.end();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  destroy(error?: Error): void {
    this.#stream.destroy(error);
  }

  onHeaders(headers: HeaderList, endStream: boolean): void {
    this.#headers = headers;
    this.onAnswer?.(headers, endStream);
  }

  onData(chunk: Uint8Array): void {
    this.#handler?.onData(chunk);
  }

  onEnd(): void {
    this.#handler?.onEnd();
  }

  onDrain(): void {
    this.#handler?.onDrain();
  }

  onClose(error: Error | undefined): void {
    this.#closed = { error };
    this.#onFinished();
    this.onFailure?.(error);
    this.#handler?.onClose(error);
  }
}
