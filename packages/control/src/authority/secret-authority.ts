import {
  type Clock,
  type Component,
  type Timer,
  backoffMs,
  delay,
  errorCode,
  errorMessage,
} from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { ControlError } from "../errors.ts";
import { type KubernetesApi, ListWatch } from "@hairpin/shared/kubernetes";
import { type Secret, buildOwnSecret, ownSecretName, pluggedSecretName, readCaSecret } from "./ca-secret.ts";
import { type TransitionOptions, type TransitionState, bundleOf, planTransition } from "./root-transition.ts";
import {
  type AuthoritySource,
  type CaMaterial,
  type SigningAuthority,
  createSigningAuthority,
} from "./signing-authority.ts";
import { buildStateSecret, readStateSecret, stateSecretName } from "./transition-secret.ts";

const retryBounds = { firstMs: 250, maxMs: 30_000 };
/** Two replicas that start together disagree once. */
const maxConflicts = 10;

export interface SecretAuthorityComponents {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface SecretAuthorityOptions extends TransitionOptions {
  /** Of the Secrets. */
  readonly namespace: string;
}

/**
 * The CA of a cluster, in Secrets: `cacerts` when an operator plugged one in, else `istio-ca-secret`, made by the first replica
 * that starts. Follows them; how one root is changed for another is told in root-transition.ts, and what the replicas agreed on is in
 * `hairpin-ca-state`.
 */
export class SecretAuthority implements AuthoritySource, Component {
  readonly name = "certificate authority";
  readonly #components: SecretAuthorityComponents;
  readonly #options: SecretAuthorityOptions;
  readonly #listeners = new Set<() => void>();
  readonly #stopped = new AbortController();
  readonly #watches: readonly ListWatch<Secret>[];
  #current: SigningAuthority | undefined;
  #adopted = "";
  #refresh: Promise<void> | undefined;
  #isStale = false;
  #failures = 0;
  #timer: Timer | undefined;

  constructor(components: SecretAuthorityComponents, options: SecretAuthorityOptions) {
    this.#components = components;
    this.#options = options;
    this.#watches = [pluggedSecretName, ownSecretName, stateSecretName].map((name) => this.#createWatch(name));
  }

  get current(): SigningAuthority {
    if (this.#current === undefined) throw new Error("The certificate authority has not been opened yet");
    return this.#current;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Reads the CA, or makes it. Tries again while the API server does not answer; rejects with `CA_SECRET_INVALID` when the Secret cannot
   * be used and there is no earlier CA to go on with.
   */
  async open(): Promise<void> {
    for (let failures = 1; ; failures++) {
      try {
        return await this.#reconcile();
      } catch (error) {
        if (!errorCode(error).startsWith("API_")) throw error;
        this.#components.logger.warn("CA could not be read", { failures, error: errorMessage(error) });
        await delay(this.#components.clock, backoffMs(failures, retryBounds, Math.random), this.#stopped.signal);
      }
    }
  }

  /** Begins to follow the Secrets; {@link SecretAuthority.open} comes before. */
  async start(): Promise<void> {
    await Promise.all(this.#watches.map((watch) => watch.start()));
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#timer?.cancel();
    await Promise.all(this.#watches.map((watch) => watch.stop()));
    await this.#refresh;
  }

  #createWatch(name: string): ListWatch<Secret> {
    const look = (): void => this.#look();
    return new ListWatch<Secret>(this.#components, {
      group: "",
      kind: "Secret",
      selection: { namespace: this.#options.namespace, fieldSelector: `metadata.name=${name}` },
      handler: { replace: look, put: look, remove: look },
    });
  }

  /** One look at a time; a change meanwhile asks for another. */
  #look(): void {
    if (this.#stopped.signal.aborted) return;
    if (this.#refresh !== undefined) {
      this.#isStale = true;
      return;
    }
    this.#timer?.cancel();
    this.#refresh = this.#lookNow().finally(() => {
      this.#refresh = undefined;
      if (!this.#isStale) return;
      this.#isStale = false;
      this.#look();
    });
  }

  async #lookNow(): Promise<void> {
    try {
      await this.#reconcile();
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      const waitMs = backoffMs(this.#failures, retryBounds, Math.random);
      this.#components.logger.error("CA could not be followed, the last one stays", {
        failures: this.#failures,
        retry_ms: Math.round(waitMs),
        error: errorMessage(error),
      });
      this.#wakeAfter(waitMs);
    }
  }

  async #reconcile(): Promise<void> {
    const { clock } = this.#components;
    for (let conflicts = 0; ; conflicts++) {
      const held = await this.#readState();
      const configured = await this.#readConfigured(held?.state);
      const { state, nextAt } = planTransition(held?.state, configured, clock, this.#options);
      if (held === undefined || !isSame(held.state, state)) {
        try {
          await this.#writeState(state, held?.secret);
        } catch (error) {
          const isLost = ["API_CONFLICT", "API_ALREADY_EXISTS"].includes(errorCode(error));
          if (!isLost || conflicts >= maxConflicts) throw error;
          continue;
        }
      }
      this.#adopt(state);
      if (nextAt !== undefined) this.#wakeAfter(Math.max(0, nextAt - clock.wallTime().getTime()));
      return;
    }
  }

  /** The CA that Secrets ask for. One that cannot be used is as if it had not been given, once there is another. */
  async #readConfigured(held: TransitionState | undefined): Promise<CaMaterial> {
    const { clock, logger } = this.#components;
    const secret = (await this.#get(pluggedSecretName)) ?? (await this.#getOwn());
    try {
      return readCaSecret(secret, clock);
    } catch (error) {
      if (held === undefined) throw error;
      logger.error("CA cannot be used, the last one stays", { error: errorMessage(error), cause: causeOf(error) });
      return held.signing;
    }
  }

  /** Of two replicas that make one at the same time the first wins, and both use its. */
  async #getOwn(): Promise<Secret> {
    const { api, clock, logger } = this.#components;
    const found = await this.#get(ownSecretName);
    if (found !== undefined) return found;
    try {
      const made = await api.create(buildOwnSecret(this.#options.namespace, clock));
      logger.info("root certificate created", { secret: `${this.#options.namespace}/${ownSecretName}` });
      return made;
    } catch (error) {
      const winner = errorCode(error) === "API_ALREADY_EXISTS" ? await this.#get(ownSecretName) : undefined;
      if (winner === undefined) throw error;
      return winner;
    }
  }

  async #readState(): Promise<{ readonly secret: Secret; readonly state: TransitionState } | undefined> {
    const secret = await this.#get(stateSecretName);
    return secret === undefined ? undefined : { secret, state: readStateSecret(secret, this.#components.clock) };
  }

  async #writeState(state: TransitionState, held: Secret | undefined): Promise<void> {
    const secret = buildStateSecret(this.#options.namespace, state);
    const resourceVersion = held?.metadata.resourceVersion;
    if (resourceVersion === undefined) await this.#components.api.create(secret);
    else await this.#components.api.replace({ ...secret, metadata: { ...secret.metadata, resourceVersion } });
  }

  async #get(name: string): Promise<Secret | undefined> {
    const { namespace } = this.#options;
    return await this.#components.api.get<Secret>({ apiVersion: "v1", kind: "Secret", namespace, name });
  }

  #adopt(state: TransitionState): void {
    const text = JSON.stringify(state);
    if (text === this.#adopted) return;
    const { clock, logger } = this.#components;
    const next = createSigningAuthority(state.signing, bundleOf(state), clock);
    const isFirst = this.#current === undefined;
    this.#current = next;
    this.#adopted = text;
    logger.info("certificate authority in use", {
      issuer: next.issuer.certificate.fingerprint256,
      expires: next.issuer.certificate.validToDate.toISOString(),
      roots: state.roots.length,
    });
    if (!isFirst) for (const listener of this.#listeners) listener();
  }

  #wakeAfter(ms: number): void {
    this.#timer?.cancel();
    if (this.#stopped.signal.aborted) return;
    this.#timer = this.#components.clock.setTimer(ms, () => this.#look(), { background: true });
  }
}

function isSame(a: TransitionState, b: TransitionState): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function causeOf(error: unknown): string {
  return error instanceof ControlError && error.cause !== undefined ? errorMessage(error.cause) : "";
}
