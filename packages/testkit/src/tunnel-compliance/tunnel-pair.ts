import type { Clock } from "@hairpin/shared/process";
import type { ByteChannel } from "@hairpin/wire";

/** Both ends of one open tunnel. They belong to the case, which need not close them: the pair's disposal does. */
export interface TunnelEnds {
  readonly dialled: ByteChannel;
  readonly accepted: ByteChannel;
}

export type TunnelSide = keyof TunnelEnds;

/** A tunnel that was asked for, with bytes right behind the request, and not answered yet. */
export interface EarlyTunnel {
  /** Answers 200. */
  accept(): Promise<TunnelEnds>;
  /** Answers 503; resolves with the status that the dialling side saw. */
  refuse(): Promise<number>;
}

/** What lies between the two sides of a pair, and can be broken. */
export interface BreakableTransport {
  /** Bytes carried so far, both directions. */
  readonly carriedBytes: number;
  /** Connections carried so far. */
  readonly connections: number;
  /** Ends the connections although nobody asked for it: `end` by FIN, without close_notify; `reset` by RST. */
  cut(how: "end" | "reset"): void;
  /** Carries nothing any more and closes nothing: a peer that lost its power. */
  freeze(): void;
}

/** A dialling and an accepting proxy that share one session. Disposal closes everything. */
export interface TunnelPair extends AsyncDisposable {
  readonly transport: BreakableTransport;
  /** Opens a tunnel; resolves once the dialling side saw 200. `greet` is called in the turn of the answer. */
  open(greet?: (accepted: ByteChannel) => void): Promise<TunnelEnds>;
  /** Asks for a tunnel that the accepting side refuses; resolves with the status that the dialling side saw. */
  openRefused(status: number): Promise<number>;
  /** See {@link EarlyTunnel}. */
  openEarly(early: Uint8Array): Promise<EarlyTunnel>;
  /** The accepting side announces that it takes no more tunnels (GOAWAY). */
  drain(): void;
}

/** What an implementation cannot do by its nature. Its cases are skipped, with the reason as part of their name. */
export type TunnelFeature = "refuse" | "earlyData" | "drain" | "sharedSession" | "cut" | "reset" | "halfClose";

export interface TunnelTraits {
  readonly without?: Partial<Record<TunnelFeature, string>>;
  /** Sides that watch their peer by PING. */
  readonly pinging: readonly TunnelSide[];
  /** Bytes of one transfer. Default 4 MiB. */
  readonly transferBytes?: number;
  /**
   * Bytes that a writer may get rid of while nobody reads at the other end: the reader's window, what the writer queues, one
   * write, and whatever a foreign side holds besides.
   */
  readonly underWayBytes: { readonly fromDialled: number; readonly fromAccepted: number };
}

export interface TunnelPairOptions {
  /** Times the proxies under test. Default: the machine's. */
  readonly clock?: Clock;
}

export type MakeTunnelPair = (options?: TunnelPairOptions) => Promise<TunnelPair>;
