import type { CounterHandle, MetricRegistry } from "@hairpin/shared/telemetry";
import type { PodState } from "./pods.ts";

/** Counts pods that began to be served, and pods that were removed. */
export interface PodMetrics {
  readonly started: CounterHandle;
  readonly stopped: CounterHandle;
}

/** ztunnel's names (ztunnel.md §10.1). Once per node, whatever number of threads serves the pods. */
export function registerPodMetrics(registry: MetricRegistry, states: () => ReadonlyMap<string, PodState>): PodMetrics {
  const count = (state: PodState["state"]): number => {
    let pods = 0;
    for (const pod of states().values()) if (pod.state === state) pods++;
    return pods;
  };
  registry.gauge({
    name: "workload_manager_active_proxy_count",
    help: "The total number current workloads with active proxies (unstable).",
    collect: (gauge) => gauge.handle({}).set(count("Up")),
  });
  registry.gauge({
    name: "workload_manager_pending_proxy_count",
    help: "The total number current workloads with pending proxies (unstable).",
    collect: (gauge) => gauge.handle({}).set(count("Pending")),
  });
  const started = registry.counter({
    name: "workload_manager_proxies_started_total",
    help: "The total number of proxies that were started (unstable).",
  });
  const stopped = registry.counter({
    name: "workload_manager_proxies_stopped_total",
    help: "The total number of proxies that were stopped (unstable).",
  });
  return { started: started.handle({}), stopped: stopped.handle({}) };
}
