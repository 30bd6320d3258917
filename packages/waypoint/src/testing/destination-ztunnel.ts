import {
  acceptTunnelSession,
  defaultTunnelListenerOptions,
  relay,
  type InboundConnect,
  type InboundTunnelSession,
} from "@hairpin/hbone";
import { tryParseSocketAddress, type Identity } from "@hairpin/shared/model";
import { systemClock } from "@hairpin/shared/process";
import type { TestAuthority } from "@hairpin/testkit";
import { connectTcp, createNodeTlsEngine, createSocketChannel, listenTcp, type HeaderList } from "@hairpin/wire";

/** One CONNECT as the pod's ztunnel saw it. */
interface SeenConnect {
  readonly authority: string;
  readonly headers: HeaderList;
  readonly peerIdentity: Identity;
}

/** What takes the tunnels of one pod and relays them to the application at the pod's address. */
export interface DestinationZtunnel extends AsyncDisposable {
  readonly seen: readonly SeenConnect[];
  /** Set: every CONNECT is answered with this status. */
  refuseWith: number | undefined;
  /** Set: tunnels are answered after it resolved. */
  holdUntil: Promise<void> | undefined;
  /** Cuts every session now. */
  cut(): void;
}

export async function startDestinationZtunnel(
  authority: TestAuthority,
  pod: { readonly ip: string; readonly identity: string },
): Promise<DestinationZtunnel> {
  const tls = createNodeTlsEngine();
  const context = tls.createContext(authority.material(pod.identity));
  const seen: SeenConnect[] = [];
  const sessions = new Set<InboundTunnelSession>();
  const serve = async (request: InboundConnect): Promise<void> => {
    const { headers, peerIdentity } = request;
    seen.push({ authority: request.authority, headers, peerIdentity });
    await ztunnel.holdUntil;
    const address = tryParseSocketAddress(request.authority);
    if (ztunnel.refuseWith !== undefined || !address) {
      request.refuse(ztunnel.refuseWith ?? 400);
      return;
    }
    try {
      const upstream = createSocketChannel(await connectTcp({ ...address, timeoutMs: 1000 }));
      await relay(request.accept(), upstream);
    } catch {
      request.refuse(503);
    }
  };
  const listener = await listenTcp({
    host: pod.ip,
    port: 15_008,
    onConnection: (socket) => {
      const request = {
        socket,
        context,
        trustDomain: authority.trustDomain,
        onConnect: (connect: InboundConnect) => void serve(connect),
      };
      acceptTunnelSession({ tls, clock: systemClock }, defaultTunnelListenerOptions, request).then(
        (session) => {
          sessions.add(session);
          void session.whenClosed.then(() => sessions.delete(session));
        },
        () => {},
      );
    },
  });
  const cut = (): void => {
    for (const session of sessions) session.destroy(new Error("cut by the test"));
  };
  const ztunnel: DestinationZtunnel = {
    seen,
    refuseWith: undefined,
    holdUntil: undefined,
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      await listener.close();
      context.close();
    },
  };
  return ztunnel;
}
