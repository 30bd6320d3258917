import type { CertificateStore } from "../identity/index.ts";
import { type Clock, type Component, errorMessage, type Timer } from "../process/index.ts";
import type { Logger } from "../telemetry/index.ts";
import { loadRoot, type RootSource } from "./control-plane-config.ts";

/** The kubelet takes a minute to bring a changed ConfigMap. */
const intervalMs = 5_000;
/** A mesh does not ask its CA for everything in one second. */
const spreadMs = 10_000;

export interface RootWatcherComponents {
  readonly certificates: Pick<CertificateStore, "renewAll">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** [0, 1), for the spread. */
  readonly random?: () => number;
}

/**
 * Renews all certificates when the file with the roots of the control plane changes: the CA's answers carry the roots by which peers
 * are verified, and a mesh that changes its root waits for everybody to know the new one. The file itself is trusted only for reaching
 * control. Roots that are no file never change.
 */
export class RootWatcher implements Component {
  readonly name = "root watcher";
  readonly #components: RootWatcherComponents;
  readonly #source: RootSource;
  #seen: string | undefined;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(components: RootWatcherComponents, source: RootSource) {
    this.#components = components;
    this.#source = source;
  }

  async start(): Promise<void> {
    if (this.#source.kind === "file") await this.#look();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await Promise.resolve();
  }

  async #look(): Promise<void> {
    const { certificates, logger, random = Math.random } = this.#components;
    try {
      const pem = await loadRoot(this.#source);
      const isChanged = this.#seen !== undefined && pem !== this.#seen;
      this.#seen = pem;
      if (isChanged) {
        const waitMs = random() * spreadMs;
        logger.info("root certificates changed, renewing all certificates", { in_ms: Math.round(waitMs) });
        return this.#wait(waitMs, () => certificates.renewAll());
      }
    } catch (error) {
      // Missing for a moment while it is replaced, or not mounted yet: calls to control tell it loudly.
      logger.debug("root certificates could not be read", { error: errorMessage(error) });
    }
    this.#wait(intervalMs, () => {});
  }

  #wait(ms: number, then: () => void): void {
    if (this.#stopped) return;
    const next = (): void => {
      then();
      void this.#look();
    };
    this.#timer = this.#components.clock.setTimer(ms, next, { background: true });
  }
}
