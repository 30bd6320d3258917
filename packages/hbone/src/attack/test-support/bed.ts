// A proxy under attack on loopback: a listener that echoes, dialers, what they counted, and an honest neighbour beside every attack.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Identity, SocketAddress } from "@hairpin/shared/model";
import { MetricRegistry } from "@hairpin/shared/telemetry";
import { eventually, ManualClock, TestAuthority } from "@hairpin/testkit";
import { connectTcp, listenTcp, type TlsEngine, type TlsMaterial } from "@hairpin/wire";
import {
  defaultTunnelDialerOptions,
  defaultTunnelListenerOptions,
  type TunnelDialerOptions,
  type TunnelListenerOptions,
} from "../../options.ts";
import { createTunnelResetBudgets } from "../../reset-budgets.ts";
import { SessionMetrics } from "../../session-metrics.ts";
import { TunnelDialer, type TunnelDialerComponents, type TunnelTarget } from "../../tunnel-dialer.ts";
import { acceptTunnelSession, type InboundConnect, type InboundTunnelSession } from "../../tunnel-listener.ts";
import { echo, Neighbour } from "./neighbour.ts";

export const authority: TestAuthority = new TestAuthority();
export const attacker: Identity = authority.identity("bad/attacker");
export const client: Identity = authority.identity("good/client");
export const server: Identity = authority.identity("good/server");

export interface BedOptions {
  readonly listener?: Partial<TunnelListenerOptions>;
  readonly dialer?: Partial<TunnelDialerOptions>;
  /** Of the listener. Default: the authority's for `server`. */
  readonly material?: TlsMaterial;
  /** Of dialers. Default: the authority's for `client`. */
  readonly dialerMaterial?: TlsMaterial;
  /** Default: accepts and echoes. */
  readonly onConnect?: (request: InboundConnect) => void;
}

/** A listener and a dialer of one engine, with one set of metrics. Time stands still unless a test moves it. */
export class AttackBed implements AsyncDisposable {
  readonly clock: ManualClock;
  readonly sessions: InboundTunnelSession[] = [];
  readonly refusals: unknown[] = [];
  readonly dialer: TunnelDialer;
  readonly address: SocketAddress;
  readonly engine: TlsEngine;
  readonly #open = new Set<InboundTunnelSession>();
  readonly #material: TlsMaterial;
  readonly #registry: MetricRegistry;
  readonly #closers: (() => Promise<void> | void)[];

  private constructor(
    engine: TlsEngine,
    registry: MetricRegistry,
    place: Pick<AttackBed, "address" | "clock" | "dialer"> & { readonly material: TlsMaterial },
    closers: (() => Promise<void> | void)[],
  ) {
    this.engine = engine;
    this.#registry = registry;
    this.address = place.address;
    this.clock = place.clock;
    this.dialer = place.dialer;
    this.#material = place.material;
    this.#closers = closers;
  }

  static async start(engine: TlsEngine, options: BedOptions = {}): Promise<AttackBed> {
    const clock = new ManualClock(new Date());
    const registry = new MetricRegistry();
    const metrics = new SessionMetrics(registry);
    const context = engine.createContext(options.material ?? authority.material(server));
    const components = { tls: engine, clock, metrics, resetBudgets: createTunnelResetBudgets() };
    const listenerOptions = { ...defaultTunnelListenerOptions, ...options.listener };
    const onConnect = options.onConnect ?? ((request: InboundConnect) => echo(request.accept()));
    const listener = await listenTcp({
      host: "127.0.0.1",
      port: 0,
      onConnection: (socket) => {
        acceptTunnelSession(components, listenerOptions, {
          socket,
          context,
          trustDomain: authority.trustDomain,
          onConnect,
        }).then(
          (session) => bed.#keep(session),
          (error: unknown) => bed.refusals.push(error),
        );
      },
    });
    const material = options.dialerMaterial ?? authority.material(client);
    const dialer = createDialer({ tls: engine, clock, metrics }, material, options.dialer);
    const address = { ip: "127.0.0.1", port: listener.address.port };
    const over = new Error("the test is over");
    const bed: AttackBed = new AttackBed(engine, registry, { address, clock, material, dialer: dialer.dialer }, [
      () => dialer.close(),
      () => bed.#open.forEach((session) => session.destroy(over)),
      () => listener.close(),
      () => context.close(),
    ]);
    return bed;
  }

  /** An honest client of the listener, in a connection of its own, that has called once already. */
  async neighbour(target: TunnelTarget = targetOf(this.address)): Promise<Neighbour> {
    const { dialer, close } = createDialer({ tls: this.engine, clock: this.clock }, this.#material);
    this.#closers.unshift(close);
    const neighbour = new Neighbour(() => dialer.dial(target, { authority: "10.0.0.1:80", headers: [] }));
    await neighbour.nextCall();
    return neighbour;
  }

  /** Accepted sessions that are not gone. */
  openSessions(): number {
    return this.#open.size;
  }

  /** Drops the list of those so far, which would keep their memory. */
  forgetSessions(): void {
    this.sessions.length = 0;
    this.refusals.length = 0;
  }

  /** The value of a counter's series that has all these labels; 0 when there is none. */
  async count(name: string, labels: Readonly<Record<string, string>>): Promise<number> {
    const { body } = await this.#registry.expose();
    const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
    return body
      .split("\n")
      .filter((line) => line.startsWith(`${name}{`) && wanted.every((label) => line.includes(label)))
      .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }

  /** Waits until the series counted exactly this. */
  async counted(name: string, labels: Readonly<Record<string, string>>, value: number): Promise<void> {
    await eventually(async () => {
      const seen = await this.count(name, labels);
      if (seen !== value) throw new Error(`${name}${JSON.stringify(labels)} is ${seen}, not ${value}`);
    });
  }

  #keep(session: InboundTunnelSession): void {
    this.sessions.push(session);
    this.#open.add(session);
    void session.whenClosed.then(() => this.#open.delete(session));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closers) await close();
  }
}

function createDialer(
  components: Omit<TunnelDialerComponents, "contextFor">,
  material: TlsMaterial,
  options: Partial<TunnelDialerOptions> = {},
): { readonly dialer: TunnelDialer; readonly close: () => void } {
  const context = components.tls.createContext(material);
  const dialer = new TunnelDialer(
    { ...components, contextFor: async () => context },
    { ...defaultTunnelDialerOptions, ...options },
  );
  return {
    dialer,
    close: () => {
      dialer.destroy(new Error("the test is over"));
      context.close();
    },
  };
}

export function targetOf(address: SocketAddress, expectedIdentities: readonly Identity[] = [server]): TunnelTarget {
  return {
    sourceIdentity: client,
    expectedIdentities,
    address,
    sourceIp: "127.0.0.1",
    connectSocket: (timeoutMs) => connectTcp({ ...address, timeoutMs }),
  };
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Bytes that the process holds after a garbage collection: objects, strings and buffers; V8 frees buffers a little later, on another thread. */
export function heldBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
