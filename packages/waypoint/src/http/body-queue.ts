import type { HeaderList, Http2StreamHandler } from "@hairpin/wire";

type Event =
  | { readonly kind: "data"; readonly chunk: Uint8Array }
  | { readonly kind: "trailers"; readonly headers: HeaderList }
  | { readonly kind: "end" };

/**
 * The received body of a message on its way to a handler that may be paused. A paused body holds what was already read
 * from the connection; the owner stops reading meanwhile, so that is one read at the most.
 */
export class BodyQueue {
  #handler: Http2StreamHandler | undefined;
  #events: Event[] = [];
  #paused = true;
  bytesRead = 0;

  get empty(): boolean {
    return this.#events.length === 0;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get handler(): Http2StreamHandler | undefined {
    return this.#handler;
  }

  setHandler(handler: Http2StreamHandler): void {
    this.#handler = handler;
  }

  pause(): void {
    this.#paused = true;
  }

  /** Delivers what is held, until the handler pauses again. True: nothing is held any more. */
  resume(): boolean {
    this.#paused = false;
    while (!this.#paused) {
      const event = this.#events.shift();
      if (!event) return true;
      this.#deliver(event);
    }
    return this.empty;
  }

  /** The chunk is borrowed: it is copied when it cannot be delivered now. */
  data(chunk: Uint8Array): void {
    if (this.#paused || !this.empty) this.#events.push({ kind: "data", chunk: chunk.slice() });
    else this.#deliver({ kind: "data", chunk });
  }

  end(trailers: HeaderList | undefined): void {
    if (trailers) this.#push({ kind: "trailers", headers: trailers });
    this.#push({ kind: "end" });
  }

  /** Forgets what is held. */
  clear(): void {
    this.#events = [];
  }

  #push(event: Event): void {
    if (this.#paused || !this.empty) this.#events.push(event);
    else this.#deliver(event);
  }

  #deliver(event: Event): void {
    switch (event.kind) {
      case "data":
        this.bytesRead += event.chunk.length;
        this.#handler?.onData(event.chunk);
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
