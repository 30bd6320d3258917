// HTTP calls, one after the other: `calls.ts '{"url":…, "count":…, "intervalMs":…, "method":…, "headers":…, "keepAlive":…}'`.
// Without a count it goes on until stdin ends. Every call is told as a JSON line; status 0: no answer, `error` says why.
import { Agent, request } from "node:http";

interface Calls {
  readonly url: string;
  readonly count?: number;
  readonly intervalMs?: number;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** One connection for all. Default: one each. */
  readonly keepAlive?: boolean;
}

const calls = JSON.parse(process.argv[2] ?? "{}") as Calls;
const agent =
  calls.keepAlive === true ? new Agent({ keepAlive: true, maxSockets: 1 }) : new Agent({ keepAlive: false });
const stopping = new AbortController();
if (calls.count === undefined) process.stdin.on("end", () => stopping.abort()).resume();

interface Told {
  readonly status: number;
  readonly body?: string;
  readonly error?: string;
}

function call(): Promise<Told> {
  const { promise, resolve } = Promise.withResolvers<Told>();
  const { url, method = "GET", headers = {} } = calls;
  const outgoing = request(url, { method, headers, agent, timeout: 5000 }, (response) => {
    let body = "";
    response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    response.on("error", (error: NodeJS.ErrnoException) => resolve({ status: 0, error: error.code ?? error.message }));
  });
  outgoing.on("timeout", () => outgoing.destroy(new Error("timeout")));
  outgoing.on("error", (error: NodeJS.ErrnoException) => resolve({ status: 0, error: error.code ?? error.message }));
  outgoing.end();
  return promise;
}

for (let done = 0; !stopping.signal.aborted && done < (calls.count ?? Infinity); done++) {
  const startedAt = Date.now();
  const told = await call();
  process.stdout.write(`${JSON.stringify({ startedAt, at: Date.now(), ...told })}\n`);
  const restMs = (calls.intervalMs ?? 0) - (Date.now() - startedAt);
  if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
}
process.exit(0);
