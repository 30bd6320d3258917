import type { MetricRegistry } from "./metrics.ts";

/** Of Hairpin. build-info.test.ts holds every package.json to it. */
export const version = "0.1.0";

/** The gauge `istio_build`: always 1. Istio's dashboards find the parts of a mesh by it. */
export function registerBuild(registry: MetricRegistry, component: "ztunnel" | "proxy", tag: string): void {
  registry
    .gauge({ name: "istio_build", help: "Istio component build info.", labels: ["component", "tag"] })
    .handle({ component, tag })
    .set(1);
}
