import type { ByteChannel } from "@hairpin/wire";
import type { BreakableTransport } from "./tunnel-pair.ts";

/** Joins pairs of channels and carries their bytes, until a test breaks them. */
export class Interposer implements BreakableTransport {
  carriedBytes = 0;
  connections = 0;
  readonly #channels = new Set<ByteChannel>();
  readonly #coalesce: boolean;
  #frozen = false;

  /** `coalesce`: what arrives in one turn of the event loop goes on as one write. */
  constructor(options: { readonly coalesce?: boolean } = {}) {
    this.#coalesce = options.coalesce ?? false;
  }

  /** Takes over both channels. */
  join(left: ByteChannel, right: ByteChannel): void {
    this.connections++;
    this.#carry(left, right);
    this.#carry(right, left);
    left.resume();
    right.resume();
  }

  cut(how: "end" | "reset"): void {
    this.#frozen = true;
    for (const channel of this.#channels) {
      if (how === "end") {
        // What is still to come is thrown away; reading on makes the channel see its peer's end.
        channel.end();
        channel.resume();
      } else channel.destroy();
    }
  }

  freeze(): void {
    this.#frozen = true;
  }

  /** Closes all connections at once. */
  close(): void {
    this.cut("reset");
  }

  #carry(from: ByteChannel, to: ByteChannel): void {
    this.#channels.add(from);
    const pending: Buffer[] = [];
    const forward = (chunk: Uint8Array): void => {
      if (!this.#frozen && !to.closed && !to.write(chunk)) from.pause();
    };
    const flush = (): void => {
      const chunks = pending.splice(0);
      if (chunks.length > 0) forward(Buffer.concat(chunks));
    };
    from.setHandler({
      onData: (chunk) => {
        if (this.#frozen) return;
        this.carriedBytes += chunk.length;
        if (!this.#coalesce) {
          forward(chunk);
          return;
        }
        if (pending.length === 0) setImmediate(flush);
        pending.push(Buffer.from(chunk));
      },
      onEnd: () => {
        flush();
        if (!this.#frozen) to.end();
      },
      onDrain: () => to.resume(),
      onClose: (error) => {
        this.#channels.delete(from);
        if (error && !this.#frozen) to.destroy();
      },
    });
  }
}
