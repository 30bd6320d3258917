import type { Clock, Timer } from "@hairpin/shared/process";
import type { ByteChannel } from "@hairpin/wire";
import { frameMessage, MessageReader } from "./tcp-framing.ts";

export interface TcpConnectionOptions {
  /** Nothing complete was asked, and nothing is owed, for this long: the connection ends. */
  readonly idleTimeoutMs: number;
  /** Queries of one connection that are answered at once; further ones wait, unread. */
  readonly maxPipelined: number;
}

/**
 * One client that came by TCP. Queries may be pipelined; answers come as they are ready (RFC 7766 §7). Bytes that make no
 * whole query do not count as activity, so the client cannot hold the connection by them.
 * Open → ending (the client ended its direction, answers are owed) → ended (we ended ours, too or for idleness) → closed, at
 * the latest one more timeout later.
 */
export class TcpConnection {
  readonly #channel: ByteChannel;
  readonly #clock: Clock;
  readonly #options: TcpConnectionOptions;
  readonly #answer: (query: Buffer) => Promise<Buffer | undefined>;
  readonly #onClosed: () => void;
  readonly #reader = new MessageReader();
  /** Read and not yet begun: at most what one read brought. */
  #waiting: Buffer[] = [];
  #underWay = 0;
  #blocked = false;
  #ending = false;
  #ended = false;
  #timer: Timer | undefined;

  /** Owns the channel. `answer` must not reject. */
  constructor(
    channel: ByteChannel,
    components: {
      readonly clock: Clock;
      answer(query: Buffer): Promise<Buffer | undefined>;
      onClosed(): void;
    },
    options: TcpConnectionOptions,
  ) {
    this.#channel = channel;
    this.#clock = components.clock;
    this.#answer = (query) => components.answer(query);
    this.#onClosed = () => components.onClosed();
    this.#options = options;
    channel.setHandler({
      onData: (chunk) => {
        if (this.#ended) return;
        this.#waiting.push(...this.#reader.push(chunk));
        this.#proceed();
      },
      onEnd: () => {
        this.#ending = true;
        this.#proceed();
      },
      onDrain: () => {
        this.#blocked = false;
        this.#proceed();
      },
      onClose: () => {
        this.#timer?.cancel();
        this.#waiting = [];
        this.#onClosed();
      },
    });
    this.#restartTimer();
    channel.resume();
  }

  /** Ends it at once. */
  close(): void {
    this.#channel.destroy();
  }

  #proceed(): void {
    if (this.#channel.closed) return;
    while (this.#waiting.length > 0 && this.#underWay < this.#options.maxPipelined && !this.#blocked) {
      const query = this.#waiting.shift();
      if (query) this.#begin(query);
    }
    if (this.#waiting.length > 0 || this.#blocked) this.#channel.pause();
    else this.#channel.resume();
    if (this.#ending && this.#waiting.length === 0 && this.#underWay === 0) this.#end();
  }

  #begin(query: Buffer): void {
    this.#underWay++;
    this.#timer?.cancel();
    void this.#answer(query).then((response) => {
      this.#underWay--;
      if (this.#channel.closed) return;
      // Over TCP there is no silence: who speaks something else than DNS is cut off.
      if (!response) return this.close();
      if (!this.#channel.write(frameMessage(response))) this.#blocked = true;
      if (this.#underWay === 0) this.#restartTimer();
      this.#proceed();
    });
  }

  #restartTimer(): void {
    this.#timer?.cancel();
    const onIdle = (): void => (this.#ended ? this.close() : this.#end());
    this.#timer = this.#clock.setTimer(this.#options.idleTimeoutMs, onIdle, { background: true });
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#channel.end();
    this.#restartTimer();
  }
}
