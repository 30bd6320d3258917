import type { Identity, SocketAddress } from "@hairpin/shared/model";
import { systemClock, type Clock } from "@hairpin/shared/process";
import { TestAuthority } from "@hairpin/testkit";
import {
  largestWriteBytes,
  type PairTransport,
  type TunnelPair,
  type TunnelTraits,
} from "@hairpin/testkit/tunnel-compliance";
import type { Http2Options } from "@hairpin/wire";
import { HboneError } from "../errors.ts";
import {
  defaultTunnelDialerOptions,
  defaultTunnelListenerOptions,
  inboundHttp2Options,
  outboundHttp2Options,
} from "../options.ts";
import { TunnelDialer, type TunnelTarget } from "../tunnel-dialer.ts";
import { acceptTunnelSession, type InboundConnect, type InboundTunnelSession } from "../tunnel-listener.ts";
import { ArrivalBoard, createProxyPair, type AcceptingProxy, type DiallingProxy } from "./proxy-pair.ts";

export const testAuthority: TestAuthority = new TestAuthority();
export const clientIdentity: Identity = testAuthority.identity("a/client");
export const serverIdentity: Identity = testAuthority.identity("b/server");

export interface HboneProxyOptions {
  readonly clock?: Clock | undefined;
  /** Overrides of the default HTTP/2 options. */
  readonly http2?: Http2Options | undefined;
  /** Of the dialer. Default 100. */
  readonly maxTunnelsPerSession?: number;
  /** Whom the dialer expects. Default: {@link serverIdentity}. */
  readonly peer?: Identity;
}

/** Our listener as the accepting proxy. */
export async function startHboneAcceptor(
  transport: Pick<PairTransport, "tls" | "serve">,
  { clock = systemClock, http2 }: HboneProxyOptions = {},
): Promise<AcceptingProxy> {
  const { tls } = transport;
  const context = tls.createContext(testAuthority.material(serverIdentity));
  const board = new ArrivalBoard();
  const sessions = new Set<InboundTunnelSession>();
  const options = { ...defaultTunnelListenerOptions, http2: { ...defaultTunnelListenerOptions.http2, ...http2 } };
  const onConnect = (request: InboundConnect): void =>
    board.arrive(request.authority, {
      accept: () => request.accept(),
      refuse: (status) => request.refuse(status),
    });
  const address = await transport.serve((socket) => {
    acceptTunnelSession({ tls, clock }, options, { socket, context, trustDomain: "cluster.local", onConnect }).then(
      (session) => sessions.add(session),
      // The dialling side reports why.
      () => {},
    );
  });
  return {
    address,
    arrival: (authority) => board.arrival(authority),
    drain: () => {
      for (const session of sessions) session.drain();
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy(new Error("The case is over"));
      context.close();
    },
  };
}

/** Our dialer as the dialling proxy; its pool puts all tunnels into one session. */
export function createHboneDialler(
  transport: Pick<PairTransport, "tls" | "connectSocket">,
  address: SocketAddress,
  { clock = systemClock, http2, peer = serverIdentity, ...pool }: HboneProxyOptions = {},
): DiallingProxy {
  const context = transport.tls.createContext(testAuthority.material(clientIdentity));
  const dialer = new TunnelDialer(
    { tls: transport.tls, clock, contextFor: async () => context },
    { ...defaultTunnelDialerOptions, ...pool, http2: { ...defaultTunnelDialerOptions.http2, ...http2 } },
  );
  const target: TunnelTarget = {
    sourceIdentity: clientIdentity,
    expectedIdentities: [peer],
    address,
    sourceIp: "127.0.0.1",
    connectSocket: (timeoutMs) => transport.connectSocket(address, timeoutMs),
  };
  return {
    dial: (authority) => {
      const channel = dialer.dial(target, { authority, headers: [] });
      return { channel, status: channel.then(() => 200, statusOf) };
    },
    async [Symbol.asyncDispose]() {
      dialer.destroy(new Error("The case is over"));
      context.close();
    },
  };
}

function statusOf(error: unknown): number {
  if (error instanceof HboneError && error.code === "HBONE_CONNECT_REFUSED") return Number(error.details["status"]);
  throw error;
}

/** Our dialer and our listener. */
export async function makeHbonePair(transport: PairTransport, options: HboneProxyOptions = {}): Promise<TunnelPair> {
  const acceptor = await startHboneAcceptor(transport, options);
  const dialler = createHboneDialler(transport, acceptor.address, options);
  return createProxyPair(dialler, acceptor, transport.interposer, [transport]);
}

/** What the suite expects of {@link makeHbonePair}; the same `http2` overrides. */
export function hboneTraits(
  options: { readonly http2?: Http2Options; readonly transferBytes?: number } = {},
): TunnelTraits {
  const inbound = { ...inboundHttp2Options, ...options.http2 };
  const outbound = { ...outboundHttp2Options, ...options.http2 };
  return {
    without: { earlyData: "the dialer hands out a tunnel only after the answer" },
    pinging: ["dialled", "accepted"],
    underWayBytes: {
      fromDialled: underWayBytes(outbound, inbound),
      fromAccepted: underWayBytes(inbound, outbound),
    },
    ...(options.transferBytes === undefined ? {} : { transferBytes: options.transferBytes }),
  };
}

function underWayBytes(writer: Http2Options, reader: Http2Options): number {
  return (writer.maxSendBufferBytes ?? 0) + (reader.initialWindowSize ?? 0) + largestWriteBytes;
}
