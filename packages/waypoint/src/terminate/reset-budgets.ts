import { formatSpiffeId } from "@hairpin/shared/model";
import { createHttp2Budget, type Http2Budget } from "@hairpin/wire";
import type { Source } from "./read-source.ts";

/** Requests that one client may open and reset (CVE-2023-44487), over all its connections. */
const budget = { burst: 200, perSecond: 100, usefulBytesPerToken: 0 };
/** Clients whose spending is remembered. */
const maxClients = 10_000;

/** One budget of resets per client, so that a new connection does not bring a new one. */
export class ResetBudgets {
  readonly #byClient = new Map<string, Http2Budget>();

  of({ identity, ip }: Source): Http2Budget {
    const key = `${identity ? formatSpiffeId(identity) : "none"}|${ip}`;
    const found = this.#byClient.get(key) ?? createHttp2Budget(budget);
    // The last one asked for is the last one forgotten.
    this.#byClient.delete(key);
    this.#byClient.set(key, found);
    const [oldest] = this.#byClient.keys();
    if (this.#byClient.size > maxClients && oldest !== undefined) this.#byClient.delete(oldest);
    return found;
  }
}
