// What a container runtime executes on a node (see launcher.ts).
import { readFileSync, writeSync } from "node:fs";
import { CniError, CniErrorCode, errorAnswer, readCniCall } from "./cni-call.ts";
import { runPlugin } from "./plugin.ts";

/** Whatever hangs: the runtime gets an answer by then. */
const deadlineMs = 25_000;
const standardInput = 0;
const standardOutput = 1;

function finish(answer: string, exitCode: number): never {
  if (answer !== "") writeSync(standardOutput, answer);
  process.exit(exitCode);
}

let cniVersion: string | undefined;
setTimeout(() => {
  const error = new CniError(CniErrorCode.tryAgainLater, `No answer within ${deadlineMs} ms`);
  finish(errorAnswer(error, cniVersion), 1);
}, deadlineMs);

async function main(): Promise<void> {
  try {
    const call = readCniCall(process.env, readFileSync(standardInput, "utf8"));
    if (call.config.cniVersion !== "") ({ cniVersion } = call.config);
    finish(await runPlugin(call), 0);
  } catch (error) {
    finish(errorAnswer(error, cniVersion), 1);
  }
}

// No await at the top: the bundle is CommonJS, which starts faster.
void main();
