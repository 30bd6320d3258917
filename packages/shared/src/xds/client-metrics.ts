/** Why a stream to the control plane ended, in ztunnel's words. */
export type TerminationReason = "ConnectionError" | "Error" | "Reconnect" | "Complete";

/** The hooks behind `istio_xds_connection_terminations_total`, `istio_xds_message_total` and `istio_xds_message_bytes_total`. */
export interface XdsClientMetrics {
  connectionTerminated(reason: TerminationReason): void;
  messageReceived(typeUrl: string, bytes: number): void;
}
