import type { Component } from "../process/index.ts";
import { type AdminRoutes, type AdminServer, type Logger, startAdminServer } from "../telemetry/index.ts";

/** An HTTP server for operators (admin, metrics, readiness) as a component. */
export function createServerComponent(
  name: string,
  place: { readonly host: string; readonly port: number },
  routes: AdminRoutes,
  logger: Logger,
  anyHost = false,
): Component {
  let server: AdminServer | undefined;
  return {
    name,
    async start() {
      server = await startAdminServer({ ...place, routes, logger: logger.child("admin"), anyHost });
      const { address, port } = server.address;
      logger.info("listener established", { component: name, address, port });
    },
    async stop() {
      await server?.close();
    },
  };
}
