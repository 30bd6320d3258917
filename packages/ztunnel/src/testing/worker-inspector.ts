// Runs code inside a worker thread of this process, as a debugger does: for faults that no caller of ours could cause.
import { Session } from "node:inspector";

interface Attached {
  readonly sessionId: string;
  readonly workerInfo: { readonly title: string };
}

/** Evaluates an expression in the worker with this name. It need not answer: it may end the thread. */
export async function evaluateInWorker(name: string, expression: string): Promise<void> {
  const session = new Session();
  session.connect();
  const found = Promise.withResolvers<string>();
  session.on("NodeWorker.attachedToWorker", (message) => {
    const { sessionId, workerInfo } = (message as unknown as { readonly params: Attached }).params;
    if (workerInfo.title.endsWith(` ${name}`)) found.resolve(sessionId);
  });
  const post = (method: string, parameters: object): Promise<void> =>
    new Promise((resolve, reject) => {
      session.post(method, parameters, (error) => (error ? reject(error) : resolve()));
    });
  try {
    await post("NodeWorker.enable", { waitForDebuggerOnStart: false });
    const sessionId = await found.promise;
    const message = JSON.stringify({ id: 1, method: "Runtime.evaluate", params: { expression } });
    await post("NodeWorker.sendMessageToWorker", { sessionId, message });
  } finally {
    session.disconnect();
  }
}
