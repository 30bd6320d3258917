import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { SocketChannel } from "../socket.ts";
import type { HandshakePacer } from "./handshake-pacer.ts";

type Callback = (error?: Error) => void;

/** Where the pieces of one flush are put together, so that they leave in one write. Shared: a write takes its bytes at once. */
const gatherBuffer: Buffer = Buffer.allocUnsafeSlow(256 * 1024);

/**
 * The ciphertext side of a TLSSocket: as much of a Duplex as node:tls uses, straight over a SocketChannel.
 *
 * node:tls over a socket's handle is a little faster (5–15 %), but then nobody can tell a FIN from a close_notify, and a
 * truncated stream looks like a finished one. Here the FIN comes to us (`onFin`) and never to TLS, so whatever end TLS
 * reports was authenticated.
 */
export class CipherStream extends EventEmitter {
  readonly channel: SocketChannel;
  // Read by node:tls.
  readonly readable: boolean = true;
  readonly writable: boolean = true;
  readonly allowHalfOpen: boolean = true;
  readonly readableObjectMode: boolean = false;
  /** Why the transport closed, when it closed by an error. */
  transportError: Error | undefined;
  /** The peer's FIN came. */
  onFin: () => void = () => undefined;
  /** The connection is gone. TLS does not know before `release`: it would throw away what it has decrypted. */
  onTransportClose: () => void = () => undefined;
  /** Set while the handshake runs: what TLS is given waits for its turn. */
  pacer: HandshakePacer | undefined;
  /** The pacer has no room. */
  onQueueFull: () => void = () => undefined;
  /** TLS wants to read. */
  #flowing = false;
  /** Bytes wait for their turn; no others may come before them. */
  #holding = false;
  readonly #pieces: Uint8Array[] = [];
  #callbacks: Callback[] = [];

  constructor(socket: Socket) {
    super();
    // High-water mark 0: a flush is done when the kernel has all of it, so TLS never encrypts ahead of a slow peer.
    this.channel = new SocketChannel(socket, { highWaterMark: 0, gathers: false });
    this.channel.setHandler({
      onData: (chunk) => this.#onData(chunk),
      onEnd: () => this.onFin(),
      onDrain: () => this.#complete(undefined),
      onClose: (error) => {
        this.transportError = error;
        this.#complete(error ?? new Error("Connection closed"));
        this.onTransportClose();
      },
    });
  }

  /** node:tls takes it for a Duplex without a handle and copies what it reads from 'data' before the event returns. */
  asDuplex(): Duplex {
    return this as unknown as Duplex;
  }

  resume(): void {
    this.#flowing = true;
    if (!this.#holding) this.channel.resume();
  }

  pause(): void {
    this.#flowing = false;
    this.channel.pause();
  }

  cork(): void {
    // Every write of node:tls comes between cork and uncork.
  }

  write(piece: Uint8Array, callback: Callback): boolean {
    this.#pieces.push(piece);
    this.#callbacks.push(callback);
    return true;
  }

  uncork(): void {
    const pieces = this.#pieces.splice(0);
    let accepted = true;
    for (let first = 0; first < pieces.length;) {
      let size = 0;
      let last = first;
      for (; last < pieces.length && size + (pieces[last] as Uint8Array).length <= gatherBuffer.length; last++) {
        gatherBuffer.set(pieces[last] as Uint8Array, size);
        size += (pieces[last] as Uint8Array).length;
      }
      if (last === first) accepted = this.channel.write(pieces[last++] as Uint8Array);
      else accepted = this.channel.write(gatherBuffer.subarray(0, size));
      first = last;
    }
    if (accepted) this.#complete(undefined);
  }

  end(callback?: Callback): void {
    this.channel.end();
    callback?.();
  }

  /** Called when TLS is done or failed; its alert or close_notify is with the kernel, so no RST that could overtake it. */
  destroy(): void {
    this.channel.close();
  }

  /** Lets TLS know that the connection is gone. */
  release(): void {
    this.emit("close");
  }

  #onData(chunk: Uint8Array): void {
    if (this.pacer === undefined) {
      this.emit("data", chunk);
      return;
    }
    this.#holding = true;
    const paced = this.pacer.pace(this.channel, chunk, (bytes) => {
      this.#holding = false;
      if (this.channel.closed) return;
      this.emit("data", bytes);
      if (this.#flowing) this.channel.resume();
    });
    if (!paced) this.onQueueFull();
  }

  #complete(error: Error | undefined): void {
    const callbacks = this.#callbacks;
    if (callbacks.length === 0) return;
    this.#callbacks = [];
    for (const callback of callbacks) callback(error);
  }
}
