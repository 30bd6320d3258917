import type { Socket as UdpSocket } from "node:dgram";
import type { Socket } from "node:net";
import type { SocketAddress } from "@hairpin/shared/model";
import { type Clock, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { createSocketChannel, type TcpListener } from "@hairpin/wire";
import type { PodNetwork } from "../pod-network.ts";
import type { Limit, Release } from "./limit.ts";
import type { QueryHandler } from "./query-handler.ts";
import { TcpConnection, type TcpConnectionOptions } from "./tcp-connection.ts";

export interface DnsServerComponents {
  readonly network: Pick<PodNetwork, "bindUdp" | "listen">;
  readonly handler: Pick<QueryHandler, "answer">;
  /** Of TCP connections. */
  readonly connections: Limit;
  /** Called for each connection that was closed at once because there were too many. */
  onLimit(): void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The sockets on which one pod's queries arrive: UDP and TCP on the same addresses. */
export class DnsServer {
  readonly #components: DnsServerComponents;
  readonly #options: TcpConnectionOptions;
  readonly #udp: UdpSocket[] = [];
  readonly #tcp: TcpListener[] = [];
  readonly #connections = new Set<TcpConnection>();
  #closed: Promise<void> | undefined;

  private constructor(components: DnsServerComponents, options: TcpConnectionOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** Resolves once all sockets are bound; rejects with the kernel's code, and then nothing is left behind. */
  static async start(
    addresses: readonly SocketAddress[],
    components: DnsServerComponents,
    options: TcpConnectionOptions,
  ): Promise<DnsServer> {
    const server = new DnsServer(components, options);
    try {
      for (const address of addresses) {
        await server.#listenTcp(address);
        await server.#bindUdp(address);
      }
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** Ends everything at once; clients ask again. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    for (const connection of this.#connections) connection.close();
    await Promise.all([...this.#udp.map(closeUdp), ...this.#tcp.map((listener) => listener.close())]);
  }

  async #bindUdp(address: SocketAddress): Promise<void> {
    const socket = await this.#components.network.bindUdp(address);
    this.#udp.push(socket);
    socket.on("error", (error) => {
      this.#components.logger.warn("dns socket failed", { address: address.ip, error: errorMessage(error) });
    });
    socket.on("message", (message, peer) => {
      void this.#components.handler.answer(message, "udp").then((response) => {
        // One that gets lost is asked for again.
        if (response && !this.#closed) socket.send(response, peer.port, peer.address, () => {});
      });
    });
  }

  async #listenTcp({ ip, port }: SocketAddress): Promise<void> {
    const { network } = this.#components;
    this.#tcp.push(
      await network.listen(port, { ip, keepalive: false, onConnection: (socket) => this.#accept(socket) }),
    );
  }

  #accept(socket: Socket): void {
    const release = this.#closed ? undefined : this.#components.connections.tryTake();
    if (!release) {
      socket.resetAndDestroy();
      if (!this.#closed) this.#components.onLimit();
      return;
    }
    this.#serve(socket, release);
  }

  #serve(socket: Socket, release: Release): void {
    const { handler, clock } = this.#components;
    const connection = new TcpConnection(
      createSocketChannel(socket),
      {
        clock,
        answer: (query) => handler.answer(query, "tcp"),
        onClosed: () => {
          release();
          this.#connections.delete(connection);
        },
      },
      this.#options,
    );
    this.#connections.add(connection);
  }
}

function closeUdp(socket: UdpSocket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()));
}
