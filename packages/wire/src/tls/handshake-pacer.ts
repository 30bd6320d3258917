import { WireError } from "../errors.ts";
import type { SocketChannel } from "../socket.ts";

/** What waits for a later turn of the event loop, and what did not get in. */
export interface HandshakePacerStats {
  /** Steps that wait now. */
  readonly queued: number;
  /** Steps that had to wait, ever. */
  readonly delayed: number;
  /** Handshakes refused because the queue, or their peer's share of it, was full, ever. */
  readonly refused: number;
}

export interface HandshakePacerOptions {
  /** Steps in one turn of the event loop. A step is up to 1 ms of CPU, so eight keep a turn below 10 ms. Default 8. */
  readonly stepsPerTurn?: number;
  /** Steps that may wait. At 0.5 ms each the last one waits half a second. Default 1024. */
  readonly maxQueued?: number;
  /**
   * Steps of one peer address that may wait. Half of the queue by default: an honest node, whose pods all come from one
   * address when they start again together, is not hurt by it, and no address fills the queue alone.
   */
  readonly maxQueuedPerPeer?: number;
}

type Step = () => void;

/**
 * Spreads the CPU of TLS handshakes over turns of the event loop, so that a flood of them does not stall the connections
 * that exist. Addresses that wait take turns: one address that floods delays another by one step.
 */
export class HandshakePacer {
  readonly #stepsPerTurn: number;
  readonly #maxQueued: number;
  readonly #maxQueuedPerPeer: number;
  /** Peers that wait, the next one first. No queue is empty. */
  readonly #queues = new Map<string, Step[]>();
  #queued = 0;
  #delayed = 0;
  #refused = 0;
  #usedSteps = 0;
  #turnScheduled = false;

  constructor(options: HandshakePacerOptions = {}) {
    this.#stepsPerTurn = options.stepsPerTurn ?? 8;
    this.#maxQueued = options.maxQueued ?? 1024;
    this.#maxQueuedPerPeer = options.maxQueuedPerPeer ?? this.#maxQueued / 2;
  }

  get stats(): HandshakePacerStats {
    return { queued: this.#queued, delayed: this.#delayed, refused: this.#refused };
  }

  /**
   * Does one step of a handshake: now with the borrowed bytes, or in a later turn with a copy, while the channel is paused
   * (the step resumes it). False: there is no room, which is counted; give the handshake up with {@link queueFull}.
   */
  pace<Bytes extends Uint8Array | undefined>(
    channel: SocketChannel,
    ciphertext: Bytes,
    step: (ciphertext: Bytes | Buffer) => void,
  ): boolean {
    if (this.#admit()) {
      step(ciphertext);
      return true;
    }
    channel.pause();
    const held = ciphertext === undefined ? ciphertext : Buffer.from(ciphertext);
    return this.#enqueue(channel.remoteAddress, () => step(held));
  }

  #admit(): boolean {
    if (this.#queued > 0 || this.#usedSteps >= this.#stepsPerTurn) return false;
    this.#usedSteps++;
    this.#scheduleTurn();
    return true;
  }

  #enqueue(peerAddress: string, step: Step): boolean {
    const queue = this.#queues.get(peerAddress) ?? [];
    if (this.#queued >= this.#maxQueued || queue.length >= this.#maxQueuedPerPeer) {
      this.#refused++;
      return false;
    }
    queue.push(step);
    this.#queues.set(peerAddress, queue);
    this.#queued++;
    this.#delayed++;
    this.#scheduleTurn();
    return true;
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    setImmediate(() => this.#onTurn());
  }

  #onTurn(): void {
    this.#turnScheduled = false;
    this.#usedSteps = 0;
    while (this.#usedSteps < this.#stepsPerTurn) {
      const step = this.#takeStep();
      if (step === undefined) return;
      this.#usedSteps++;
      this.#scheduleTurn();
      step();
    }
  }

  #takeStep(): Step | undefined {
    const [next] = this.#queues;
    if (next === undefined) return undefined;
    const [peerAddress, queue] = next;
    const step = queue.shift();
    // To the end of the line.
    this.#queues.delete(peerAddress);
    if (queue.length > 0) this.#queues.set(peerAddress, queue);
    this.#queued--;
    return step;
  }
}

/** What a handshake fails with that found no room. */
export function queueFull(channel: SocketChannel): WireError {
  const message = `Too many TLS handshakes wait, of ${channel.remoteAddress} or of all peers`;
  return new WireError("TLS_HANDSHAKE_QUEUE_FULL", message);
}

/** The pacer of this thread; each worker has its own. */
export const threadHandshakePacer: HandshakePacer = new HandshakePacer();
