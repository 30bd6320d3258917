import { createHash, randomBytes } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { ByteChannel } from "@hairpin/wire";
import type { Tunnel } from "../../tunnel.ts";

/** Sends back what comes, under back-pressure, and ends when the other side did. */
export function echo(tunnel: Tunnel): void {
  tunnel.setHandler({
    onData: (chunk) => {
      if (!tunnel.write(chunk)) tunnel.pause();
    },
    onEnd: () => tunnel.end(),
    onDrain: () => tunnel.resume(),
    onClose: () => {},
  });
  tunnel.resume();
}

/** Writes bytes, ends, and resolves with what came until the other side ended; rejects when that broke. */
function exchange(channel: ByteChannel, bytes: Uint8Array): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const received: Buffer[] = [];
  channel.setHandler({
    onData: (chunk) => received.push(Buffer.from(chunk)),
    onEnd: () => resolve(Buffer.concat(received)),
    onDrain: () => {},
    onClose: (error) => reject(error ?? new Error("closed without an end")),
  });
  channel.resume();
  channel.write(bytes);
  channel.end();
  return promise;
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** An honest client that calls all the time and looks at every byte of the answers. */
export class Neighbour {
  /** Calls whose bytes came back right. */
  calls = 0;
  readonly failures: unknown[] = [];
  readonly #dial: () => Promise<Tunnel>;
  readonly #running: Promise<void>;
  #stopped = false;

  /** `dial` opens a tunnel that echoes. */
  constructor(dial: () => Promise<Tunnel>) {
    this.#dial = dial;
    this.#running = this.#run();
  }

  /** One more call than those so far has succeeded, or one has failed. */
  async nextCall(): Promise<void> {
    const before = this.calls;
    while (this.calls === before && this.failures.length === 0) await nextTurn();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const bytes = randomBytes(4096);
      try {
        const answer = await exchange(await this.#dial(), bytes);
        if (sha256(answer) !== sha256(bytes)) throw new Error("other bytes came back");
        this.calls++;
      } catch (error) {
        this.failures.push(error);
      }
      await nextTurn();
    }
  }
}
