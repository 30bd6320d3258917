import koffi from "koffi";

/**
 * Waits until a descriptor can be read or its peer hung up, through the thread's own event loop; one wait at a time.
 * A worker must cancel all before it ends.
 */
export class ReadableWait {
  #end: (() => void) | undefined;

  get pending(): boolean {
    return this.#end !== undefined;
  }

  /** Resolves when `fd` is readable, or by {@link cancel}. */
  until(fd: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        poll.close();
        this.#end = undefined;
        resolve();
      };
      const poll = koffi.node.poll(fd, { readable: true, disconnect: true }, () => {
        poll.close();
        // Not from here: this call comes without Node's callback scope, so promises it settles would wait for the next event.
        setImmediate(() => {
          if (this.#end === end) end();
        });
      });
      this.#end = end;
    });
  }

  /** Ends the wait; call it before the descriptor is closed. Harmless when nothing waits. */
  cancel(): void {
    this.#end?.();
  }
}
