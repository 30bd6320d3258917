import type { Clock } from "@hairpin/shared/process";
import type { Http2Session } from "@hairpin/wire";
import { HboneError } from "./errors.ts";
import type { LivenessOptions } from "./options.ts";

/**
 * Sends a PING on the session every interval and destroys it when one is not answered in time: a peer that vanished
 * without FIN (a node that lost power, a NAT entry that expired) would hold its tunnels for ever.
 * Returns a function that stops the watch; call it when the session closed.
 */
export function watchLiveness(
  session: Http2Session,
  clock: Clock,
  options: LivenessOptions,
  origin: "downstream" | "upstream",
): () => void {
  let timer = clock.setTimer(options.pingIntervalMs, ping);

  function ping(): void {
    if (!session.ping(pinged)) return;
    timer = clock.setTimer(options.pingTimeoutMs, () => {
      const message = `The peer did not answer a PING within ${options.pingTimeoutMs} ms`;
      session.destroy(new HboneError(message, { code: "HBONE_PING_TIMEOUT", origin }));
    });
  }

  function pinged(): void {
    timer.cancel();
    if (!session.closed) timer = clock.setTimer(options.pingIntervalMs, ping);
  }

  return () => timer.cancel();
}
