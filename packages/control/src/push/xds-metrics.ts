import type { MetricRegistry } from "@hairpin/shared/telemetry";
import type { DeltaXdsServer } from "@hairpin/shared/xds";
import type { ObjectCollection } from "../collection/object-collection.ts";
import type { ClientRole } from "./client-role.ts";

/** What a scrape tells of the push side. */
export function registerXdsMetrics(
  metrics: MetricRegistry,
  server: DeltaXdsServer<ClientRole>,
  objects: ObjectCollection,
): void {
  metrics.gauge({
    name: "hairpin_xds_clients",
    help: "Connected xDS clients by kind: ztunnel or waypoint.",
    labels: ["kind"],
    collect: (family) => {
      const waypoints = server.clients().filter(({ principal }) => principal.waypointKey !== undefined).length;
      family.handle({ kind: "waypoint" }).set(waypoints);
      family.handle({ kind: "ztunnel" }).set(server.clients().length - waypoints);
    },
  });
  metrics.gauge({
    name: "hairpin_control_objects",
    help: "Kubernetes objects held.",
    labels: [],
    collect: (family) => family.handle({}).set(objects.size),
  });
  const answers = metrics.counter({
    name: "hairpin_xds_answers_total",
    help: "Answers of clients to pushes, by type and result: ack or nack.",
    labels: ["type_url", "result"],
  });
  server.onAck(({ typeUrl, nack }) =>
    answers.handle({ type_url: typeUrl, result: nack === undefined ? "ack" : "nack" }).add(1),
  );
}
