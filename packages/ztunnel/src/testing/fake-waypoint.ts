import {
  acceptTunnelSession,
  connectHbone,
  defaultTunnelListenerOptions,
  type HboneClient,
  type InboundConnect,
} from "@hairpin/hbone";
import type { Identity } from "@hairpin/shared/model";
import { systemClock } from "@hairpin/shared/process";
import type { TestAuthority } from "@hairpin/testkit";
import { createNodeTlsEngine, listenTcp } from "@hairpin/wire";

/** One CONNECT as the waypoint saw it. */
interface SeenConnect {
  readonly authority: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly peerIdentity: Identity;
  readonly remoteIp: string;
}

export interface FakeWaypoint extends AsyncDisposable {
  readonly seen: readonly SeenConnect[];
}

/** What the waypoint does with each CONNECT: accept or refuse it. */
export type WaypointBehaviour = (request: InboundConnect) => void | Promise<void>;

/** Takes tunnels on 15008 of an address, or on a listening descriptor, and remembers who opened them. */
export async function startFakeWaypoint(
  authority: TestAuthority,
  place: ({ readonly ip: string } | { readonly fd: number }) & { readonly identity: string },
  behave: WaypointBehaviour,
): Promise<FakeWaypoint> {
  const tls = createNodeTlsEngine();
  const context = tls.createContext(authority.material(place.identity));
  const seen: SeenConnect[] = [];
  const destroyers = new Set<() => void>();
  const listener = await listenTcp({
    ...("fd" in place ? { fd: place.fd } : { host: place.ip, port: 15_008 }),
    onConnection: (socket) => {
      const remoteIp = (socket.remoteAddress ?? "").replace(/^::ffff:/, "");
      acceptTunnelSession({ tls, clock: systemClock }, defaultTunnelListenerOptions, {
        socket,
        context,
        trustDomain: authority.trustDomain,
        onConnect: (request) => {
          const headers = request.headers.map(({ name, value }) => [name, value] as const);
          seen.push({ authority: request.authority, headers, peerIdentity: request.peerIdentity, remoteIp });
          void behave(request);
        },
      }).then(
        (session) => destroyers.add(() => session.destroy(new Error("the test is over"))),
        () => {},
      );
    },
  });
  return {
    seen,
    async [Symbol.asyncDispose]() {
      for (const destroy of destroyers) destroy();
      await listener.close();
      context.close();
    },
  };
}

/** A hand-made HBONE client, which shares no code with our tunnels. */
export async function dialByHand(
  authority: TestAuthority,
  options: { readonly from: string; readonly to: string; readonly expect: string },
): Promise<HboneClient> {
  return await connectHbone({
    address: { ip: options.to, port: 15_008 },
    material: authority.material(options.from),
    expectedIdentities: [authority.identity(options.expect)],
    timeoutMs: 2000,
  });
}
