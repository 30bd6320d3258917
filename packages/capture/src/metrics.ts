import type { MetricRegistry } from "@hairpin/shared/telemetry";

const durationBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What capture counts. */
export interface CaptureMetrics {
  captured(durationMs: number): void;
  released(): void;
  failed(): void;
  repaired(): void;
  cniCall(command: string, outcome: string): void;
}

export interface CaptureGauges {
  readonly capturedPods: () => number;
  readonly ztunnels: () => number;
}

export function registerCaptureMetrics(registry: MetricRegistry, gauges: CaptureGauges): CaptureMetrics {
  const changes = registry.counter({
    name: "hairpin_capture_changes_total",
    help: "What was done to pods: captured, released, repaired (rules that were not as they should be), failed.",
    labels: ["change"],
  });
  const calls = registry.counter({
    name: "hairpin_cni_calls_total",
    help: "Questions of the CNI plugin, by command and outcome.",
    labels: ["command", "outcome"],
  });
  const duration = registry
    .histogram({
      name: "hairpin_capture_duration_seconds",
      help: "From the decision to capture a pod until its rules were in and ztunnel had taken it.",
      buckets: durationBuckets,
    })
    .handle({});
  registry.gauge({
    name: "hairpin_captured_pods",
    help: "Pods of this node that are captured.",
    collect: (gauge) => gauge.handle({}).set(gauges.capturedPods()),
  });
  registry.gauge({
    name: "hairpin_zds_connections",
    help: "Ztunnels connected to this agent.",
    collect: (gauge) => gauge.handle({}).set(gauges.ztunnels()),
  });
  return {
    captured(durationMs) {
      changes.handle({ change: "captured" }).add();
      duration.observe(durationMs / 1000);
    },
    released: () => changes.handle({ change: "released" }).add(),
    failed: () => changes.handle({ change: "failed" }).add(),
    repaired: () => changes.handle({ change: "repaired" }).add(),
    cniCall: (command, outcome) => calls.handle({ command, outcome }).add(),
  };
}
