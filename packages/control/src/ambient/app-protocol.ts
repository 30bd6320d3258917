import type { AppProtocol } from "@hairpin/shared/model";

const byName: Readonly<Record<string, AppProtocol>> = {
  http: "HTTP11",
  http2: "HTTP2",
  grpc: "GRPC",
  "grpc-web": "HTTP11",
  tcp: "TCP",
  tls: "TLS",
  https: "TLS",
  "kubernetes.io/h2c": "HTTP2",
  "kubernetes.io/ws": "HTTP11",
  "kubernetes.io/wss": "TLS",
};

/** Servers of these speak first, so that sniffing would stall them: SMTP, DNS, MySQL, MongoDB (as Istio's well-known ports). */
const tcpByNumber: ReadonlySet<number> = new Set([25, 53, 3306, 27017]);

/** Protocol of a service port: appProtocol, else the name's prefix before "-" (`http-web`), else by number. */
export function appProtocolOf(port: {
  readonly port: number;
  readonly name?: string;
  readonly appProtocol?: string;
}): AppProtocol {
  const declared = byName[port.appProtocol?.toLowerCase() ?? ""];
  if (declared !== undefined) return declared;
  const name = port.name?.toLowerCase() ?? "";
  const prefix = name.startsWith("grpc-web") ? "grpc-web" : (name.split("-")[0] ?? "");
  return byName[prefix] ?? (tcpByNumber.has(port.port) ? "TCP" : "UNKNOWN");
}
