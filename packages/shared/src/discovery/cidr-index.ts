import { type Cidr, ipBytes, type IpAddress } from "../model/index.ts";

interface Entry<T> {
  readonly cidr: Cidr;
  readonly value: T;
}

/** Values by address range. A lookup costs one map access per prefix length in use (at most 33 or 129). */
export class CidrIndex<T> {
  /** By `network|bytes|length`, then by masked address. */
  readonly #groups = new Map<string, Map<string, Entry<T>[]>>();
  /** Prefix lengths in use, by `network|bytes`; longest first. */
  readonly #lengths = new Map<string, number[]>();

  add(network: string, cidr: Cidr, value: T): void {
    const bytes = ipBytes(cidr.ip);
    const family = `${network}|${bytes.length}`;
    const groupKey = `${family}|${cidr.prefixLength}`;
    let group = this.#groups.get(groupKey);
    if (group === undefined) {
      group = new Map();
      this.#groups.set(groupKey, group);
      const lengths = [...(this.#lengths.get(family) ?? []), cidr.prefixLength];
      this.#lengths.set(
        family,
        lengths.sort((a, b) => b - a),
      );
    }
    const key = masked(bytes, cidr.prefixLength);
    group.set(key, [...(group.get(key) ?? []), { cidr, value }]);
  }

  delete(network: string, cidr: Cidr, value: T): void {
    const bytes = ipBytes(cidr.ip);
    const family = `${network}|${bytes.length}`;
    const groupKey = `${family}|${cidr.prefixLength}`;
    const group = this.#groups.get(groupKey);
    if (group === undefined) return;
    const key = masked(bytes, cidr.prefixLength);
    const left = (group.get(key) ?? []).filter((entry) => entry.value !== value);
    if (left.length > 0) group.set(key, left);
    else group.delete(key);
    if (group.size > 0) return;
    this.#groups.delete(groupKey);
    this.#lengths.set(
      family,
      (this.#lengths.get(family) ?? []).filter((length) => length !== cidr.prefixLength),
    );
  }

  /** Every range that holds the address, longest prefix first, then in order of arrival. */
  find(network: string, ip: IpAddress): readonly Entry<T>[] {
    const bytes = ipBytes(ip);
    const family = `${network}|${bytes.length}`;
    return (this.#lengths.get(family) ?? []).flatMap(
      (length) => this.#groups.get(`${family}|${length}`)?.get(masked(bytes, length)) ?? [],
    );
  }
}

function masked(bytes: Uint8Array, prefixLength: number): string {
  const copy = Buffer.from(bytes);
  for (let i = 0; i < copy.length; i++) {
    const bits = Math.min(8, Math.max(0, prefixLength - 8 * i));
    copy[i] = (copy[i] ?? 0) & (0xff << (8 - bits));
  }
  return copy.toString("hex");
}
