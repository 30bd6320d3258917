import type { ClientConnection } from "../client-connection.ts";
import { resolveTarget, type Target, type TargetResolver } from "./resolve-target.ts";

/** What connections' addresses mean, found once and again after the mesh or the configuration changed. */
export class TargetCache {
  readonly #resolver: TargetResolver;
  #targets = new WeakMap<ClientConnection, Target>();

  constructor(resolver: TargetResolver) {
    this.#resolver = resolver;
    const forget = (): void => {
      this.#targets = new WeakMap();
    };
    resolver.mesh.onChange(forget);
    resolver.config.onChange(forget);
  }

  /** As {@link resolveTarget} of this moment. */
  targetOf(connection: ClientConnection): Target {
    let target = this.#targets.get(connection);
    if (!target) {
      target = resolveTarget(connection.address, this.#resolver);
      this.#targets.set(connection, target);
    }
    return target;
  }
}
