import type { HeaderList, Http2StreamHandler } from "@hairpin/wire";

type Event =
  | { readonly kind: "data"; readonly chunk: Uint8Array }
  | { readonly kind: "trailers"; readonly headers: HeaderList }
  | { readonly kind: "end" };

const end: Event = { kind: "end" };

/**
 * What was received of a message, on its way to a handler that may be paused or not be there yet. A paused queue holds what
 * was already read from the connection; the owner stops reading meanwhile, so that is one read at the most.
 *
 * States: open → finished (`finish`; an orderly one waits until everything held was delivered) → closed (`onClose` called).
 */
export class BodyQueue {
  #handler: Http2StreamHandler | undefined;
  #events: Event[] = [];
  #paused = true;
  #finished: { readonly error: Error | undefined } | undefined;
  #closed = false;
  bytesRead = 0;

  get empty(): boolean {
    return this.#events.length === 0;
  }

  get handler(): Http2StreamHandler | undefined {
    return this.#handler;
  }

  /** `finish` was called. */
  get finished(): boolean {
    return this.#finished !== undefined;
  }

  setHandler(handler: Http2StreamHandler): void {
    this.#handler = handler;
    // The connection may have broken before the stream had an owner.
    if (this.#finished) queueMicrotask(() => this.#closeWhenDelivered());
  }

  pause(): void {
    this.#paused = true;
  }

  /** Delivers what is held, until the handler pauses again. True: nothing is held any more. */
  resume(): boolean {
    this.#paused = false;
    while (!this.#paused) {
      const event = this.#events.shift();
      if (!event) break;
      this.#deliver(event);
    }
    this.#closeWhenDelivered();
    return this.empty;
  }

  /** The chunk is borrowed: it is copied when it cannot be delivered now (`Buffer.slice` would not copy). */
  data(chunk: Uint8Array): void {
    if (this.#finished) return;
    if (this.#paused || !this.empty) this.#events.push({ kind: "data", chunk: Buffer.from(chunk) });
    else this.#deliverData(chunk);
  }

  end(trailers: HeaderList | undefined): void {
    if (this.#finished) return;
    if (trailers) this.#push({ kind: "trailers", headers: trailers });
    this.#push(end);
  }

  /** The last call, later ones are ignored. With an error what is held is dropped and the handler told now. */
  finish(error: Error | undefined): void {
    if (this.#finished) return;
    this.#finished = { error };
    if (error) this.#events = [];
    this.#closeWhenDelivered();
  }

  /** As `finish` without an error, for a message whose rest nobody wants. */
  discard(): void {
    this.#events = [];
    this.finish(undefined);
  }

  #push(event: Event): void {
    if (this.#paused || !this.empty) this.#events.push(event);
    else this.#deliver(event);
  }

  #closeWhenDelivered(): void {
    if (!this.#finished || this.#closed || !this.empty || !this.#handler) return;
    this.#closed = true;
    this.#handler.onClose(this.#finished.error);
  }

  #deliverData(chunk: Uint8Array): void {
    this.bytesRead += chunk.length;
    this.#handler?.onData(chunk);
  }

  #deliver(event: Event): void {
    switch (event.kind) {
      case "data":
        this.#deliverData(event.chunk);
        break;
      case "trailers":
        this.#handler?.onTrailers?.(event.headers);
        break;
      case "end":
        this.#handler?.onEnd();
        break;
      default:
        event satisfies never;
    }
  }
}
