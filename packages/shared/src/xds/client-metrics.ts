import type { MetricRegistry } from "../telemetry/index.ts";

/** Why a stream to the control plane ended, in ztunnel's words. */
export type TerminationReason = "ConnectionError" | "Error" | "Reconnect" | "Complete";

export interface XdsClientMetrics {
  connectionTerminated(reason: TerminationReason): void;
  messageReceived(typeUrl: string, bytes: number): void;
}

/** `istio_xds_connection_terminations_total`, `istio_xds_message_total` and `istio_xds_message_bytes_total`, as ztunnel's. */
export function createXdsClientMetrics(registry: MetricRegistry): XdsClientMetrics {
  const terminations = registry.counter({
    name: "istio_xds_connection_terminations_total",
    help: "The total number of completed connections to xds server (unstable)",
    labels: ["reason"],
  });
  const messages = registry.counter({
    name: "istio_xds_message_total",
    help: "Total number of messages received (unstable)",
    labels: ["url"],
  });
  const bytesReceived = registry.counter({
    name: "istio_xds_message_bytes_total",
    help: "Total number of bytes received (unstable)",
    labels: ["url"],
  });
  return {
    connectionTerminated: (reason) => terminations.handle({ reason }).add(),
    messageReceived(typeUrl, bytes) {
      messages.handle({ url: typeUrl }).add();
      bytesReceived.handle({ url: typeUrl }).add(bytes);
    },
  };
}
