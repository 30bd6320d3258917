import { type Clock, type Component, errorMessage } from "@hairpin/shared/process";
import type { KubernetesApi } from "@hairpin/shared/kubernetes";
import type { Logger } from "@hairpin/shared/telemetry";
import { waypointClassName, waypointControllerName } from "../ambient/waypoint/waypoint-record.ts";
import type { GatewayClass } from "../collection/kubernetes-object.ts";
import type { ObjectCollection } from "../collection/object-collection.ts";
import { Recomputation } from "../collection/recomputation.ts";
import type { Leadership } from "../status/leadership.ts";

const retryMs = 5_000;

export interface GatewayClassComponents {
  readonly api: KubernetesApi;
  readonly objects: ObjectCollection;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Keeps the waypoints' GatewayClass there: made when it is missing, never changed when somebody else made it. */
export class GatewayClassKeeper implements Component {
  readonly name = "gateway class";
  readonly #components: GatewayClassComponents;
  readonly #round: Recomputation;
  #endings: readonly (() => void)[] = [];

  constructor(components: GatewayClassComponents) {
    this.#components = components;
    this.#round = new Recomputation({ clock: components.clock, work: () => this.#createMissing() });
  }

  async start(): Promise<void> {
    const { objects, leadership } = this.#components;
    const look = (): void => {
      if (this.#isMissing()) this.#round.request();
    };
    this.#endings = [objects.onChange(look), leadership.onChange(look)];
    look();
    await Promise.resolve();
  }

  async stop(): Promise<void> {
    for (const end of this.#endings) end();
    await this.#round.stop();
  }

  #isMissing(): boolean {
    const { objects, leadership } = this.#components;
    return objects.synced && leadership.leading && objects.find("GatewayClass", waypointClassName) === undefined;
  }

  /** Never rejects; a failure is tried again with the next change, or after a while. */
  async #createMissing(): Promise<number> {
    const { api, clock, logger } = this.#components;
    if (!this.#isMissing()) return 0;
    try {
      const served = await api.findServed("gateway.networking.k8s.io", "GatewayClass");
      // Without Gateway API there are no waypoints; its CRDs' coming is a change.
      if (served === undefined) return 0;
      const made: GatewayClass = {
        ...served,
        metadata: { name: waypointClassName },
        spec: { controllerName: waypointControllerName },
      };
      await api.create(made);
      logger.info("gateway class created", { name: waypointClassName, controller: waypointControllerName });
    } catch (error) {
      logger.warn("gateway class could not be created", { name: waypointClassName, error: errorMessage(error) });
      clock.setTimer(retryMs, () => this.#round.request(), { background: true });
    }
    return 0;
  }
}
