import { formatSpiffeId, type Identity } from "@hairpin/shared/model";
import { createHttp2Budget, type BudgetOptions, type Http2Budget } from "@hairpin/wire";

/** Clients whose spending is remembered. */
const maxClients = 10_000;

/** Who a client is: what it proved, if anything, and where it calls from. */
export interface BudgetHolder {
  readonly identity: Identity | undefined;
  readonly ip: string;
}

/**
 * One budget of resets (CVE-2023-44487, CVE-2025-8671) per client over all its sessions, so that a new connection does not bring a
 * new one. A client is an identity at an address: a replica that attacks takes nothing from its siblings.
 */
export class ResetBudgets {
  readonly #options: BudgetOptions;
  readonly #byClient = new Map<string, Http2Budget>();

  constructor(options: Pick<BudgetOptions, "burst" | "perSecond">) {
    this.#options = { ...options, usefulBytesPerToken: 0 };
  }

  of({ identity, ip }: BudgetHolder): Http2Budget {
    const key = `${identity ? formatSpiffeId(identity) : "none"}|${ip}`;
    const found = this.#byClient.get(key) ?? createHttp2Budget(this.#options);
    // The last one asked for is the last one forgotten.
    this.#byClient.delete(key);
    this.#byClient.set(key, found);
    const [oldest] = this.#byClient.keys();
    if (this.#byClient.size > maxClients && oldest !== undefined) this.#byClient.delete(oldest);
    return found;
  }
}

/** Of clients that open tunnels: 100, then 20 a second. */
export function createTunnelResetBudgets(): ResetBudgets {
  return new ResetBudgets({ burst: 100, perSecond: 20 });
}
