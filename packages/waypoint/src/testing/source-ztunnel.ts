import { once } from "node:events";
import net from "node:net";
import { defaultTunnelDialerOptions, relay, TunnelDialer, type Tunnel } from "@hairpin/hbone";
import type { Identity } from "@hairpin/shared/model";
import { systemClock } from "@hairpin/shared/process";
import type { TestAuthority } from "@hairpin/testkit";
import { connectTcp, createNodeTlsEngine, createSocketChannel, listenTcp, type HeaderList } from "@hairpin/wire";

/** A plain TCP port whose connections become tunnels to one authority: what a captured application sees. */
export interface CapturedPort {
  readonly host: string;
  readonly port: number;
  /** Connects to it; the connection may be half-closed. */
  connect(): Promise<net.Socket>;
}

/** The client's side: opens tunnels to the waypoint as somebody, from an address. */
export interface SourceZtunnel extends AsyncDisposable {
  readonly ip: string;
  /** Rejects with HboneError when the waypoint refuses. */
  tunnel(authority: string, headers?: HeaderList): Promise<Tunnel>;
  capture(authority: string): Promise<CapturedPort>;
}

export function createSourceZtunnel(
  authority: TestAuthority,
  client: { readonly identity: string; readonly ip: string },
  waypoint: { readonly address: { readonly ip: string; readonly port: number }; readonly identity: Identity },
): SourceZtunnel {
  const tls = createNodeTlsEngine();
  const context = tls.createContext(authority.material(client.identity));
  const dialer = new TunnelDialer(
    { tls, clock: systemClock, contextFor: async () => context },
    defaultTunnelDialerOptions,
  );
  const closers: (() => Promise<void>)[] = [];
  const target = {
    sourceIdentity: authority.identity(client.identity),
    expectedIdentities: [waypoint.identity],
    address: waypoint.address,
    sourceIp: client.ip,
    connectSocket: (timeoutMs: number) => connectTcp({ ...waypoint.address, localIp: client.ip, timeoutMs }),
  };
  const tunnel = async (to: string, headers: HeaderList = []): Promise<Tunnel> =>
    await dialer.dial(target, { authority: to, headers });
  return {
    ip: client.ip,
    tunnel,
    async capture(to) {
      const listener = await listenTcp({
        host: client.ip,
        port: 0,
        onConnection: (socket) => {
          const downstream = createSocketChannel(socket);
          tunnel(to).then(
            (upstream) => relay(downstream, upstream),
            (error: Error) => {
              downstream.setHandler({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
              downstream.destroy(error);
            },
          );
        },
      });
      closers.push(() => listener.close());
      const { port } = listener.address;
      return {
        host: client.ip,
        port,
        async connect() {
          const socket = net.connect({ host: client.ip, port, allowHalfOpen: true, noDelay: true });
          await once(socket, "connect");
          socket.on("error", () => {});
          return socket;
        },
      };
    },
    async [Symbol.asyncDispose]() {
      dialer.destroy(new Error("the test is over"));
      await Promise.all(closers.map((close) => close()));
      context.close();
    },
  };
}
