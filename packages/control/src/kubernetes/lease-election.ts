import { type Clock, type Component, type Timer, delay, errorCode, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import type { Leadership } from "../status/leadership.ts";
import type { KubernetesApi } from "@hairpin/shared/kubernetes";

/** Others wait for this long after the last renewal that they saw. */
const leaseMs = 15_000;
/** The leader stops writing when it could not renew for this long: well before anybody takes over. */
const renewDeadlineMs = 10_000;
const retryMs = 2_000;

interface Lease extends KubernetesObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/** Of control's replicas. */
export const leaseName = "hairpin-control-leader";

export interface LeaseElectionOptions {
  readonly namespace: string;
  readonly name: string;
  /** Unique among the candidates, also over restarts of one pod. */
  readonly identity: string;
}

/**
 * Elects one of several replicas by a Lease, as client-go does: clocks are never compared, only how long a lease has stood
 * unchanged. States: following -lease free or stale-> leading -renewal late or lost-> following; stop gives the lease back.
 */
export class LeaseElection implements Component, Leadership {
  readonly name = "leader election";
  readonly #components: { readonly api: KubernetesApi; readonly clock: Clock; readonly logger: Logger };
  readonly #options: LeaseElectionOptions;
  readonly #stopped = new AbortController();
  readonly #listeners = new Set<() => void>();
  /** The lease as last seen, and when it was first seen so. */
  #seen: { readonly version: string; readonly at: number } | undefined;
  /** On the clock. */
  #leadsUntil = -Infinity;
  #deadline: Timer | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(
    components: { readonly api: KubernetesApi; readonly clock: Clock; readonly logger: Logger },
    options: LeaseElectionOptions,
  ) {
    this.#components = components;
    this.#options = options;
  }

  get leading(): boolean {
    return this.#components.clock.now() < this.#leadsUntil;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async start(): Promise<void> {
    this.#running = this.#run();
    await Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
    if (!this.leading) return;
    this.#lose();
    // Best effort: without it the next one waits until the lease is stale.
    await this.#release().catch(() => undefined);
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#components;
    while (!this.#stopped.signal.aborted) {
      const begin = clock.now();
      try {
        if (await this.#tryHold()) this.#lead(begin);
        else this.#lose();
      } catch (error) {
        // A conflict means that another was faster; anything else that nothing is known: the deadline decides.
        if (errorCode(error) !== "API_CONFLICT" && errorCode(error) !== "API_ALREADY_EXISTS")
          logger.warn("lease could not be renewed", { lease: this.#options.name, error: errorMessage(error) });
      }
      await delay(clock, retryMs * (0.9 + 0.2 * Math.random()), this.#stopped.signal).catch(() => undefined);
    }
  }

  /** True when the lease is ours now. */
  async #tryHold(): Promise<boolean> {
    const { api, clock } = this.#components;
    const lease = await this.#read();
    if (lease === undefined) {
      await api.create(this.#build({ leaseTransitions: 0 }));
      return true;
    }
    const { holderIdentity = "", leaseTransitions = 0, acquireTime } = lease.spec ?? {};
    const isOurs = holderIdentity === this.#options.identity;
    const version = lease.metadata.resourceVersion ?? "";
    if (this.#seen?.version !== version) this.#seen = { version, at: clock.now() };
    const isStale = clock.now() - this.#seen.at > leaseMs;
    if (!isOurs && holderIdentity !== "" && !isStale) return false;
    const next = isOurs
      ? this.#build({ leaseTransitions, ...(acquireTime === undefined ? {} : { acquireTime }) })
      : this.#build({ leaseTransitions: leaseTransitions + 1 });
    await api.replace({ ...next, metadata: { ...next.metadata, resourceVersion: version } });
    return true;
  }

  async #release(): Promise<void> {
    const lease = await this.#read();
    if (lease?.spec?.holderIdentity !== this.#options.identity) return;
    await this.#components.api.replace({
      ...lease,
      spec: { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 },
    });
  }

  async #read(): Promise<Lease | undefined> {
    const { namespace, name } = this.#options;
    return await this.#components.api.get<Lease>({ ...leaseKind, namespace, name });
  }

  #build(spec: { readonly leaseTransitions: number; readonly acquireTime?: string }): Lease {
    const { namespace, name, identity } = this.#options;
    // MicroTime.
    const now = this.#components.clock.wallTime().toISOString().replace("Z", "000Z");
    return {
      ...leaseKind,
      metadata: { namespace, name },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: leaseMs / 1000,
        acquireTime: now,
        renewTime: now,
        ...spec,
      },
    };
  }

  /** Counted from before the renewal was sent: the server may have taken it at once. */
  #lead(since: number): void {
    const { clock, logger } = this.#components;
    const wasLeading = this.leading;
    this.#leadsUntil = since + renewDeadlineMs;
    this.#deadline?.cancel();
    this.#deadline = clock.setTimer(this.#leadsUntil - clock.now(), () => this.#expire());
    if (wasLeading || !this.leading) return;
    logger.info("leading", { lease: this.#options.name, identity: this.#options.identity });
    this.#changed();
  }

  #lose(): void {
    if (this.#leadsUntil === -Infinity) return;
    this.#leadsUntil = -Infinity;
    this.#expire();
  }

  #expire(): void {
    this.#deadline?.cancel();
    this.#components.logger.info("not leading any more", { lease: this.#options.name });
    this.#leadsUntil = -Infinity;
    this.#changed();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

const leaseKind = { apiVersion: "coordination.k8s.io/v1", kind: "Lease" };
