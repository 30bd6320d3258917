import { Agent, request } from "node:http";
import { ControlError } from "../errors.ts";
import type { StatusSink, StatusWrite } from "./status-writer.ts";

const timeoutMs = 5000;

/** Writes statuses through the store's HTTP API. An object that is gone (404) is left alone. */
export function createStoreStatusSink(socketPath: string): StatusSink {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  return {
    write: async (write) => {
      const code = await post(agent, socketPath, write);
      if (code !== 404 && (code < 200 || code > 299))
        throw new ControlError("STORE_WRITE_FAILED", `The store answered ${code} to a status`, { origin: "upstream" });
    },
  };
}

async function post(agent: Agent, socketPath: string, write: StatusWrite): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const call = request(
    {
      agent,
      socketPath,
      path: "/v1/status",
      method: "POST",
      timeout: timeoutMs,
      headers: { "content-type": "application/json" },
    },
    (response) => {
      response.once("error", reject);
      response.once("end", () => resolve(response.statusCode ?? 0));
      response.resume();
    },
  );
  call.once("error", reject);
  call.once("timeout", () => call.destroy(new Error(`no answer within ${timeoutMs} ms`)));
  call.end(JSON.stringify(write));
  return await promise;
}
