import { connect } from "node:net";
import { type AgentAnswer, type AgentRequest, maxLineBytes, parseAgentAnswer } from "./agent-protocol.ts";

/** The agent could not be asked, or went away before it answered. */
export class AgentUnreachable extends Error {
  override readonly name = "AgentUnreachable";
}

/** Rejects with {@link AgentUnreachable}, also when no answer came within `timeoutMs`. */
export async function askAgent(socketPath: string, request: AgentRequest, timeoutMs: number): Promise<AgentAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<AgentAnswer>();
  const socket = connect(socketPath);
  const timer = setTimeout(() => fail(`no answer within ${timeoutMs} ms`), timeoutMs);
  const fail = (reason: string): void =>
    reject(new AgentUnreachable(`The node agent cannot be asked at ${socketPath}: ${reason}`));
  let received = "";
  socket.setEncoding("utf8");
  socket.on("error", (error) => fail(error.message));
  socket.on("data", (text: string) => {
    received += text;
    if (received.length > maxLineBytes) fail("its answer is too long");
    else if (received.includes("\n")) {
      const answer = parseAgentAnswer(received);
      if (answer === undefined) fail("its answer is none");
      else resolve(answer);
    }
  });
  socket.on("close", () => fail("it closed the connection"));
  socket.write(`${JSON.stringify(request)}\n`);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}
