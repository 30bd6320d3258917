// The pipe between `hairpin up` and the daemon. The daemon tells its progress on it; when the command ends without having
// said `detach`, however it ended, the daemon ends too.

import { Socket } from "node:net";

/** One line of the daemon's report. */
export type ProgressLine =
  | { readonly type: "step"; readonly text: string }
  | { readonly type: "warning"; readonly text: string }
  | { readonly type: "serving" }
  | { readonly type: "failed"; readonly reason: string; readonly log?: string };

/** What the command says when the daemon shall live on without it. */
export const detachWord = "detach\n";

const lifelineFd = 3;

export class Lifeline {
  readonly #socket: Socket;

  /** `onLost` is called once when the command is gone and has not said `detach`. */
  constructor(onLost: () => void) {
    this.#socket = new Socket({ fd: lifelineFd, readable: true, writable: true });
    let text = "";
    this.#socket.setEncoding("utf8");
    this.#socket.on("data", (chunk: string) => (text = (text + chunk).slice(-detachWord.length)));
    this.#socket.on("error", () => {});
    this.#socket.once("close", () => (text === detachWord ? undefined : onLost()));
  }

  report(line: ProgressLine): void {
    if (this.#socket.writable) this.#socket.write(`${JSON.stringify(line)}\n`);
  }

  /** Resolves when everything reported has been handed to the system. */
  async flush(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#socket.writable) this.#socket.write("", () => resolve());
    else resolve();
    await promise;
  }
}
