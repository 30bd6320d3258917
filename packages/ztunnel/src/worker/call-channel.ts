import { errorCode, errorMessage, MeshError } from "@hairpin/shared/process";

/** One end of what connects two threads; `Worker` and `MessagePort` fit. */
export interface CallPort {
  postMessage(message: unknown): void;
  on(event: "message", listener: (message: unknown) => void): unknown;
}

/** What one side does when it is asked: methods of at most one argument. Values are copied, so they are plain. */
type MethodsOf<T> = { readonly [K in keyof T]: (argument: never) => unknown };

interface Call {
  /** Undefined: no answer is wanted. */
  readonly call: number | undefined;
  readonly method: string;
  readonly argument: unknown;
}

type Answer =
  | { readonly answer: number; readonly value: unknown }
  | { readonly answer: number; readonly error: { readonly message: string; readonly code: string } };

/**
 * Calls between two threads. Both sides may ask; calls are taken up in the order in which they were made, a method that returns
 * no promise is done before the next begins, and answers come in any order.
 */
export class CallChannel<Theirs extends MethodsOf<Theirs>> {
  readonly #port: CallPort;
  readonly #mine: ReadonlyMap<string, (argument: unknown) => unknown>;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastCall = 0;
  #closed: Error | undefined;

  constructor(port: CallPort, mine: object) {
    this.#port = port;
    this.#mine = new Map(Object.entries(mine));
    port.on("message", (message) => this.#receive(message as Call | Answer));
  }

  /** Rejects with what the other side threw (its message and code), or with the reason of {@link close}. */
  async call<K extends keyof Theirs & string>(
    method: K,
    ...[argument]: Parameters<Theirs[K]>
  ): Promise<Awaited<ReturnType<Theirs[K]>>> {
    if (this.#closed) throw this.#closed;
    const call = ++this.#lastCall;
    const settled = Promise.withResolvers<unknown>();
    this.#waiting.set(call, settled);
    this.#post({ call, method, argument });
    return (await settled.promise) as Awaited<ReturnType<Theirs[K]>>;
  }

  /** As {@link call} without an answer: what the method throws there is that thread's uncaught error. */
  post<K extends keyof Theirs & string>(method: K, ...[argument]: Parameters<Theirs[K]>): void {
    if (!this.#closed) this.#post({ call: undefined, method, argument });
  }

  /** Rejects all calls, those that wait and those that come. Idempotent. */
  close(reason: Error): void {
    this.#closed ??= reason;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }

  #receive(message: Call | Answer): void {
    if ("answer" in message) return this.#settle(message);
    const method = this.#mine.get(message.method);
    if (!method) throw new Error(`The other thread called ${message.method}, which is not known here`);
    if (message.call === undefined) method(message.argument);
    else void this.#answer(message.call, method, message.argument);
  }

  /** Calls the method at once: its synchronous part runs before the next message is taken. */
  async #answer(answer: number, method: (argument: unknown) => unknown, argument: unknown): Promise<void> {
    let result: Answer;
    try {
      result = { answer, value: await method(argument) };
    } catch (error) {
      result = { answer, error: { message: errorMessage(error), code: errorCode(error) } };
    }
    this.#post(result);
  }

  #settle(message: Answer): void {
    const waiting = this.#waiting.get(message.answer);
    this.#waiting.delete(message.answer);
    if ("value" in message) waiting?.resolve(message.value);
    else waiting?.reject(new MeshError(message.error.message, { code: message.error.code, origin: "internal" }));
  }

  #post(message: Call | Answer): void {
    this.#port.postMessage(message);
  }
}
