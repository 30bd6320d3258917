import type { SocketAddress } from "@hairpin/shared/model";
import type { BreakableTransport, TunnelPair } from "@hairpin/testkit/tunnel-compliance";
import type { ByteChannel } from "@hairpin/wire";

/** A CONNECT that reached the accepting proxy and is not answered. */
export interface PendingTunnel {
  accept(): ByteChannel;
  refuse(status: number): void;
}

/** The accepting proxy of a pair. */
export interface AcceptingProxy extends AsyncDisposable {
  readonly address: SocketAddress;
  /** What to ask it for; the number is new each time. Default `10.0.0.1:number`. */
  authority?(number: number): string;
  /** The CONNECT for `authority`, once it came. */
  arrival(authority: string): Promise<PendingTunnel>;
  /** GOAWAY on every session. */
  drain(): void;
}

/** A CONNECT on its way. */
export interface DialledTunnel {
  /** The tunnel, once it was answered 200; rejects otherwise. */
  readonly channel: Promise<ByteChannel>;
  /** The status of the answer. */
  readonly status: Promise<number>;
}

/** The dialling proxy of a pair. It uses one session for all its tunnels. */
export interface DiallingProxy extends AsyncDisposable {
  /** Asks for a tunnel; `early` goes right behind the request. */
  dial(authority: string, early?: Uint8Array): DialledTunnel;
}

/** A pair of the compliance suite out of two proxies and what lies between them. */
export function createProxyPair(
  dialling: DiallingProxy,
  accepting: AcceptingProxy,
  transport: BreakableTransport,
  closers: readonly AsyncDisposable[] = [],
): TunnelPair {
  let tunnels = 0;
  const begin = (early?: Uint8Array): { dialled: DialledTunnel; arrival: Promise<PendingTunnel> } => {
    const number = ++tunnels;
    const authority = accepting.authority?.(number) ?? `10.0.0.1:${number}`;
    const arrival = accepting.arrival(authority);
    const dialled = dialling.dial(authority, early);
    for (const promise of [dialled.channel, dialled.status]) promise.catch(() => {});
    return { dialled, arrival };
  };
  return {
    transport,
    async open(greet) {
      const { dialled, arrival } = begin();
      const pending = await Promise.race([arrival, dialled.channel.then(() => arrival)]);
      const accepted = pending.accept();
      greet?.(accepted);
      return { dialled: await dialled.channel, accepted };
    },
    async openRefused(status) {
      const { dialled, arrival } = begin();
      (await arrival).refuse(status);
      return dialled.status;
    },
    async openEarly(early) {
      const { dialled, arrival } = begin(early);
      const waiting = await arrival;
      return {
        accept: async () => {
          const accepted = waiting.accept();
          return { accepted, dialled: await dialled.channel };
        },
        refuse: () => {
          waiting.refuse(503);
          return dialled.status;
        },
      };
    },
    drain: () => accepting.drain(),
    async [Symbol.asyncDispose]() {
      for (const part of [dialling, accepting, ...closers]) await part[Symbol.asyncDispose]();
    },
  };
}

/** Requests by authority, whether they came before they were asked for or after. */
export class ArrivalBoard {
  readonly #arrivals = new Map<string, PromiseWithResolvers<PendingTunnel>>();

  arrival(authority: string): Promise<PendingTunnel> {
    return this.#slot(authority).promise;
  }

  arrive(authority: string, tunnel: PendingTunnel): void {
    this.#slot(authority).resolve(tunnel);
  }

  #slot(authority: string): PromiseWithResolvers<PendingTunnel> {
    let slot = this.#arrivals.get(authority);
    if (slot === undefined) this.#arrivals.set(authority, (slot = Promise.withResolvers()));
    return slot;
  }
}
