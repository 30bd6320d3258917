import type { EngineStream } from "./stream.ts";

/** Streams whose handlers are to be called outside of the stack that made something due for them. */
export class DeliveryList {
  readonly #streams: EngineStream[] = [];
  #next = 0;

  get isEmpty(): boolean {
    return this.#next === this.#streams.length;
  }

  add(stream: EngineStream): void {
    if (stream.inDelivery) return;
    stream.inDelivery = true;
    this.#streams.push(stream);
  }

  /** Delivers to all, also to those that are added meanwhile. A handler that throws leaves the rest for the next run. */
  run(afterEach: (stream: EngineStream) => void): void {
    while (this.#next < this.#streams.length) {
      const stream = this.#streams[this.#next++] as EngineStream;
      stream.inDelivery = false;
      stream.deliver();
      afterEach(stream);
    }
    this.#streams.length = 0;
    this.#next = 0;
  }
}
